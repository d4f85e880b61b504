-- Leases an owner's next message, if no other owner has one waiting, and if it
-- asks for a first attempt at a source that is small enough.
--   ARGV[3] lease  ms
--   ARGV[4] owner
--  ARGV[5] size   of the largest source to take, bytes
-- Returns {message, how often it was delivered}, or nothing.
local time = now()
ripen(time)
if redis.call('LLEN', ring) ~= 1 or redis.call('LINDEX', ring, 0) ~= ARGV[4] then
  return false
end
local id = redis.call('LINDEX', KEYS[6] .. ARGV[4], 0)
local message = cjson.decode(redis.call('HGET', messages, id))
if message.attempt ~= 1 or message.size > tonumber(ARGV[5]) then
  return false
end
return deliver(ARGV[4], time, ARGV[3])
