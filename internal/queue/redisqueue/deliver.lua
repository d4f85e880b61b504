-- Put between common.lua and the scripts that take messages.
local BATCH = 100 -- of ended delays and leases each, so that no call is long

-- ripen puts messages whose delay or lease has ended by time into their owners'
-- lines.
local function ripen(time)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', delays, '-inf', time, 'LIMIT', 0, BATCH)) do
    redis.call('ZREM', delays, id)
    stand('RPUSH', id)
  end
  local lost = redis.call('ZRANGEBYSCORE', leases, '-inf', time, 'LIMIT', 0, BATCH)
  for i = #lost, 1, -1 do -- so that the one taken first comes out first
    redis.call('ZREM', leases, lost[i])
    stand('LPUSH', lost[i])
  end
end

-- deliver leases the next message of the owner whose turn it is.
local function deliver(owner, time, lease)
  local line = KEYS[6] .. owner
  local id = redis.call('LPOP', line)
  redis.call('LPOP', ring)
  if redis.call('LLEN', line) > 0 then
    redis.call('RPUSH', ring, owner)
  end
  local message = redis.call('HGET', messages, id)
  redis.call('ZREM', waiting, id)
  redis.call('DECRBY', size, cjson.decode(message).size)
  redis.call('ZADD', leases, time + lease, id)
  wake(tonumber(lease))
  return {message, redis.call('HINCRBY', deliveries, id, 1)}
end
