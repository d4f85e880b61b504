-- Returns 1 if there is a mark, else 0.
--   KEYS[1]        mark
local ends = redis.call('GET', KEYS[1])
return ends and tonumber(ends) > now and 1 or 0
