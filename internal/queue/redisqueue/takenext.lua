-- Leases an owner's next message, if no other owner has one waiting, and if it
-- asks for a first attempt at a source that is small enough.
--   ARGV[6] lease  ms
--   ARGV[7] owner
--   ARGV[8] size   of the largest source to take, bytes
-- Returns {message, how often it was delivered}, or nothing.
local time = now()
local wrote = ripen(time)
local owner = ARGV[7]
if redis.call('LLEN', ring) ~= 1 or redis.call('LINDEX', ring, 0) ~= owner then
  return answer(false, wrote)
end
local first = upcoming(owner)
if not first then
  return answer(false, wrote) -- the next take sees to it
end
local message = cjson.decode(first[2])
if message.attempt ~= 1 or message.size > tonumber(ARGV[8]) then
  return answer(false, wrote)
end
return answer(deliver(owner, first, time, ARGV[6]), true)
