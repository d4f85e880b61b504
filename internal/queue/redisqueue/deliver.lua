-- Put between common.lua and the scripts that take messages.
local BATCH = 100 -- of ended delays and leases each, so that no call is long

-- ripen puts messages whose delay or lease has ended by time into their owners'
-- lines, and reports whether there were any. One whose message was lost is
-- dropped.
local function ripen(time)
  local over = redis.call('ZRANGEBYSCORE', delays, '-inf', time, 'LIMIT', 0, BATCH)
  for _, id in ipairs(over) do
    redis.call('ZREM', delays, id)
    if redis.call('HEXISTS', messages, id) == 1 then
      stand('RPUSH', id)
    end
  end
  local ended = redis.call('ZRANGEBYSCORE', leases, '-inf', time, 'LIMIT', 0, BATCH)
  for i = #ended, 1, -1 do -- so that the one taken first comes out first
    redis.call('ZREM', leases, ended[i])
    if redis.call('HEXISTS', messages, ended[i]) == 1 then
      stand('LPUSH', ended[i])
    end
  end
  return #over + #ended > 0
end

-- upcoming returns the message of the owner whose turn it is, as {id, message}, or
-- nothing if the class has lost a part of what it needs for that.
local function upcoming(owner)
  local id = redis.call('LINDEX', KEYS[6] .. owner, 0)
  local message = id and redis.call('HGET', messages, id)
  if message then
    return {id, message}
  end
end

-- turn returns whose turn it is if the owners in last (a set) come after all others.
-- With others, they have no turn at all. Nothing: nobody has one.
local function turn(last, others)
  if not next(last) then
    return redis.call('LINDEX', ring, 0)
  end
  local at = 0
  while true do -- one step for each of them at the most
    local owner = redis.call('LINDEX', ring, at)
    if not owner then
      break
    end
    if not last[owner] then
      return owner
    end
    at = at + 1
  end
  if not others then
    return redis.call('LINDEX', ring, 0)
  end
end

-- deliver leases the next message of an owner, which upcoming has returned, and ends
-- the owner's turn.
local function deliver(owner, first, time, lease)
  local line, id, message = KEYS[6] .. owner, first[1], first[2]
  redis.call('LPOP', line)
  redis.call('LREM', ring, 1, owner)
  if redis.call('LLEN', line) > 0 then
    redis.call('RPUSH', ring, owner)
  end
  redis.call('ZREM', waiting, id)
  redis.call('DECRBY', size, cjson.decode(message).size)
  redis.call('ZADD', leases, time + lease, id)
  wake(tonumber(lease))
  return {message, redis.call('HINCRBY', deliveries, id, 1)}
end
