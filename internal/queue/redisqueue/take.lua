-- Leases the next message.
--   ARGV[6] lease   ms
--   ARGV[7] others  1: the owners below get nothing; 0: they come after all others
--   ARGV[8] and so on: owners
-- Returns {message, how often it was delivered}, or how long to wait for
-- something to become ready, ms.
local time = now()
local wrote = ripen(time)

local last = {}
for i = 8, #ARGV do
  last[ARGV[i]] = true
end
local others = ARGV[7] == '1'
local owner = turn(last, others)
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
