-- Adds a message, unless it is there. If it is there and delayed beyond
-- ARGV[5], its delay now ends at ARGV[5].
--   ARGV[3] id
--   ARGV[4] message     as in messages
--   ARGV[5] not before  ms since 1970
-- Returns 1 if it was added, 0 if it was there.
if redis.call('HSETNX', messages, ARGV[3], ARGV[4]) == 0 then
  local due = redis.call('ZSCORE', delays, ARGV[3])
  if due and tonumber(ARGV[5]) < tonumber(due) then
    redis.call('ZADD', delays, ARGV[5], ARGV[3])
    wake(tonumber(ARGV[5]) - now())
  end
  return 0
end
local pause = tonumber(ARGV[5]) - now()
if pause > 0 then
  redis.call('ZADD', delays, ARGV[5], ARGV[3])
else
  stand('RPUSH', ARGV[3], ARGV[4])
end
wake(pause)
return 1
