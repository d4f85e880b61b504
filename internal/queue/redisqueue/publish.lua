-- Adds a message, unless it is there. If it is there and delayed for longer than
-- ARGV[8], its delay is now that. If it is there and in none of leases,
-- delays and waiting, its place was lost, and it gets one.
--   ARGV[6] id
--   ARGV[7] message     as in messages
--   ARGV[8] pause       ms from now, 0 for none
-- Returns 1 if it was added or got a place, 0 if it had one.
local id, pause = ARGV[6], tonumber(ARGV[8])
local ready = now() + pause
local there = redis.call('HEXISTS', messages, id) == 1
local due = redis.call('ZSCORE', delays, id)
if there and due then
  local earlier = ready < tonumber(due)
  if earlier then
    redis.call('ZREM', delays, id)
    redis.call('ZADD', delays, ready, id)
    wake(pause)
  end
  return answer(0, earlier)
end
if there and (redis.call('ZSCORE', leases, id) or redis.call('ZSCORE', waiting, id)) then
  return answer(0, false)
end
if not there then
  redis.call('HSET', messages, id, ARGV[7])
  if redis.call('ZSCORE', leases, id) or redis.call('ZSCORE', waiting, id) then
    return answer(1, true) -- only the message was lost
  end
end
redis.call('ZREM', delays, id)
if pause > 0 then
  redis.call('ZADD', delays, ready, id)
else
  stand('RPUSH', id, ARGV[7])
end
wake(pause)
return answer(1, true)
