-- Put before every script of a class. All of them get the same keys:
--   KEYS[1] messages    HASH  id -> JSON {owner, conversion_id, attempt, kind, size, since}: every message there is
--   KEYS[2] deliveries  HASH  id -> how often it was delivered
--   KEYS[3] leases      ZSET  id by the end of its lease, ms since 1970
--  KEYS[5] ring        LIST  owners with waiting messages, the next one first
--   KEYS[5] ring        LIST  owners with waiting messages, whose turn it is first
--   KEYS[6] line:       prefix of one LIST per owner: ids that wait, longest first
--   KEYS[7] waiting     ZSET  ids in lines by since, ms since 1970
--   KEYS[8] size        STRING  sum of size over the ids in lines
-- and the same first arguments:
--   ARGV[1] channel     on which waiting takers are woken
--   ARGV[2] topic       what to say there
-- A message is in exactly one of leases, delays and its owner's line. An owner
-- is in the ring, once, while its line holds anything.
local messages, deliveries, leases, delays, ring = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local waiting, size = KEYS[7], KEYS[8]

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

-- stand puts a message into its owner's line: behind by RPUSH, before by LPUSH.
local function stand(push, id, message)
  message = cjson.decode(message or redis.call('HGET', messages, id))
  if redis.call(push, KEYS[6] .. message.owner, id) == 1 then
    redis.call('RPUSH', ring, message.owner)
  end
  redis.call('ZADD', waiting, message.since, id)
  redis.call('INCRBY', size, message.size)
end

-- held reports whether this delivery of the message is under a lease.
local function held(id, delivery)
  return redis.call('ZSCORE', leases, id) and redis.call('HGET', deliveries, id) == delivery
end
