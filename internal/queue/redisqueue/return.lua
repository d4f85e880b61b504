-- Gives a leased message back: to the front of its owner's line, or delayed.
--   ARGV[3] id
--   ARGV[4] which delivery
--   ARGV[5] pause  ms from now, 0 for none
-- Returns 1, or 0 if the lease is not this delivery's any more.
if not held(ARGV[3], ARGV[4]) then
  return 0
end
local pause = tonumber(ARGV[5])
redis.call('ZREM', leases, ARGV[3])
if pause > 0 then
  redis.call('ZADD', delays, now() + pause, ARGV[3])
else
  stand('LPUSH', ARGV[3])
end
wake(pause)
return 1
