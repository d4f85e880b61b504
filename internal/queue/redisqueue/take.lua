-- Leases the next message.
--   ARGV[3] lease  ms
-- Returns {message, how often it was delivered}, or how long to wait for
-- something to become ready, ms.
local time = now()
ripen(time)

local owner = redis.call('LINDEX', ring, 0)
if owner then
  return deliver(owner, time, ARGV[3])
end

local wait = ROUND
for _, set in ipairs({delays, leases}) do
  local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
  if first[2] then
    wait = math.min(wait, first[2] - time)
  end
end
return wait
