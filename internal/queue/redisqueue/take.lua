-- Leases the next message.
--   ARGV[3] lease  ms
-- Returns {message, how often it was delivered}, or how long to wait for
-- something to become ready, ms.
local BATCH = 100 -- of ended delays and leases each, so that no call is long
local time = now()

for _, id in ipairs(redis.call('ZRANGEBYSCORE', delays, '-inf', time, 'LIMIT', 0, BATCH)) do
  redis.call('ZREM', delays, id)
  stand('RPUSH', id)
end

local lost = redis.call('ZRANGEBYSCORE', leases, '-inf', time, 'LIMIT', 0, BATCH)
for i = #lost, 1, -1 do -- the one taken first comes out first
  redis.call('ZREM', leases, lost[i])
  stand('LPUSH', lost[i])
end

local owner = redis.call('LPOP', ring)
if owner then
  local line = KEYS[6] .. owner
  local id = redis.call('LPOP', line)
  if redis.call('LLEN', line) > 0 then
    redis.call('RPUSH', ring, owner)
  end
  local message = redis.call('HGET', messages, id)
  redis.call('ZREM', waiting, id)
  redis.call('DECRBY', size, cjson.decode(message).size)
  redis.call('ZADD', leases, time + ARGV[3], id)
  wake(tonumber(ARGV[3]))
  return {message, redis.call('HINCRBY', deliveries, id, 1)}
end

local wait = ROUND
for _, set in ipairs({delays, leases}) do
  local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
  if first[2] then
    wait = math.min(wait, first[2] - time)
  end
end
return wait
