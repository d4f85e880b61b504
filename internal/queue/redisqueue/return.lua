-- Gives a leased message back: to the front of its owner's line, or delayed.
--   ARGV[6] id
--   ARGV[7] which delivery
--   ARGV[8] pause  ms from now, 0 for none
-- Returns 1, or 0 if the lease is not this delivery's any more.
if not held(ARGV[6], ARGV[7]) then
  return answer(0, false)
end
local pause = tonumber(ARGV[8])
redis.call('ZREM', leases, ARGV[6])
if redis.call('HEXISTS', messages, ARGV[6]) == 0 then
  return answer(0, true) -- the message was lost
end
if pause > 0 then
  redis.call('ZADD', delays, now() + pause, ARGV[6])
else
  stand('LPUSH', ARGV[6])
end
wake(pause)
return answer(1, true)
