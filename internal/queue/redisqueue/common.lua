-- Put before every script of a class. All of them get the same keys:
--   KEYS[1] messages    HASH  id -> JSON {owner, conversion_id, attempt, kind, size, since}: every message there is
--   KEYS[2] deliveries  HASH  id -> how often it was delivered
--   KEYS[3] leases      ZSET  id by the end of its lease, ms since 1970
--   KEYS[4] delays      ZSET  id by the end of its delay, ms since 1970
--   KEYS[5] ring        LIST  owners with waiting messages, whose turn it is first
--   KEYS[6] line:       prefix of one LIST per owner: ids that wait, longest first
--   KEYS[7] waiting     ZSET  ids in lines by since, ms since 1970
--   KEYS[8] size        STRING  sum of size over the ids in lines
--   KEYS[9] life        HASH  name of the class's present life, writes: how many scripts have written in it
-- and the same first arguments:
--   ARGV[1] channel     on which waiting takers are woken
--   ARGV[2] topic       what to say there
--   ARGV[3] name        of the life that the caller knows, '' for none
--   ARGV[4] writes      that the caller has seen in that life
--   ARGV[5] new name    for the next life, if one begins
-- A message is in exactly one of leases, delays and its owner's line. An owner
-- is in the ring, once, while its line holds anything.
--
-- A script that changes something does so first by a command that needs no
-- memory, even in vain: after that Redis refuses none of its commands when
-- it is full. Only a new message is refused.
local messages, deliveries, leases, delays, ring = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local waiting, size, life = KEYS[7], KEYS[8], KEYS[9]

-- ROUND is how long a taker sleeps at most before it looks again, ms.
local ROUND = 5000

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- wake makes waiting takers look at once, if something becomes ready within
-- pause. What is further away they find by themselves.
local function wake(pause)
  if pause < ROUND then
    redis.call('PUBLISH', ARGV[1], ARGV[2])
  end
end

-- renew begins a new life: whoever sees its name publishes everything owed.
local function renew()
  redis.call('HDEL', life, 'name')
  redis.call('HSET', life, 'name', ARGV[5])
end

-- lost empties a class of which a part was lost, and renews it. A line whose
-- owner is not in the ring stays; see stand.
local function lost()
  for _, owner in ipairs(redis.call('LRANGE', ring, 0, -1)) do
    redis.call('UNLINK', KEYS[6] .. owner)
  end
  redis.call('UNLINK', messages, deliveries, leases, delays, ring, waiting, size)
  renew()
end

-- answer ends a script. It counts the write, if there was one, and returns
-- {name, writes, result}. A count below what the caller has seen in this life
-- means that the class went back in time: to a snapshot, or with a server that
-- lacked the last writes.
local function answer(result, wrote)
  if wrote then
    redis.call('HINCRBY', life, 'writes', 1)
  end
  local name, writes = redis.call('HGET', life, 'name'), tonumber(redis.call('HGET', life, 'writes') or 0)
  if not name or name == ARGV[3] and writes < tonumber(ARGV[4]) then
    renew()
    name = ARGV[5]
  end
  return {name, writes, result}
end

-- stand puts a message into its owner's line: behind by RPUSH, before by LPUSH.
local function stand(push, id, message)
  message = cjson.decode(message or redis.call('HGET', messages, id))
  local line = KEYS[6] .. message.owner
  local first = redis.call('LINDEX', line, 0)
  if first and not redis.call('ZSCORE', waiting, first) then
    redis.call('DEL', line) -- left over from an earlier life
  end
  if redis.call(push, line, id) == 1 then
    redis.call('RPUSH', ring, message.owner)
  end
  redis.call('ZADD', waiting, message.since, id)
  redis.call('INCRBY', size, message.size)
end

-- held reports whether this delivery of the message is under a lease.
local function held(id, delivery)
  return redis.call('ZSCORE', leases, id) and redis.call('HGET', deliveries, id) == delivery
end
