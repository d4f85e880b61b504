-- Looks whether the class has lost a part of its keys, in a time that grows
-- only with the number of owners. Returns nothing: the name of the class's life
-- says enough.
local places = redis.call('ZCARD', leases) + redis.call('ZCARD', delays) + redis.call('ZCARD', waiting)
local whole = redis.call('HLEN', messages) == places
local oldest, sum = redis.call('ZRANGE', waiting, 0, 0)[1], tonumber(redis.call('GET', size) or -1)
if not oldest then
  whole = whole and redis.call('LLEN', ring) == 0 and sum <= 0
elseif whole then -- it is in its owner's line, and the owner is in the ring
  local owner = cjson.decode(redis.call('HGET', messages, oldest) or '{}').owner
  whole = owner and sum >= 0 and redis.call('EXISTS', KEYS[6] .. owner) == 1 and redis.call('LPOS', ring, owner)
end
if not whole then
  lost()
end
return answer(false, not whole)
