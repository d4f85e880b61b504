-- Makes a lease end later, or sooner.
--   ARGV[6] id
--   ARGV[7] which delivery
--   ARGV[8] lease  ms from now
-- Returns 1, or 0 if the lease is not this delivery's any more.
if not held(ARGV[6], ARGV[7]) then
  return answer(0, false)
end
redis.call('ZREM', leases, ARGV[6])
redis.call('ZADD', leases, now() + ARGV[8], ARGV[6])
wake(tonumber(ARGV[8]))
return answer(1, true)
