-- Leases the next message.
--   ARGV[6] lease  ms
-- Returns {message, how often it was delivered}, or how long to wait for
-- something to become ready, ms.
local time = now()
local wrote = ripen(time)

local owner = redis.call('LINDEX', ring, 0)
if owner then
  local first = upcoming(owner)
  if first then
    return answer(deliver(owner, first, time, ARGV[6]), true)
  end
  lost()
  return answer(0, true)
end

local wait = ROUND
for _, set in ipairs({delays, leases}) do
  local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
  if first[2] then
    wait = math.min(wait, first[2] - time)
  end
end
return answer(wait, wrote)
