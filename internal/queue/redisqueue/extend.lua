-- Makes a lease end later, or sooner.
--   ARGV[3] id
--   ARGV[4] which delivery
--   ARGV[5] lease  ms from now
-- Returns 1, or 0 if the lease is not this delivery's any more.
if not held(ARGV[3], ARGV[4]) then
  return 0
end
redis.call('ZADD', leases, now() + ARGV[5], ARGV[3])
wake(tonumber(ARGV[5]))
return 1
