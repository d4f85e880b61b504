-- Counts messages by what they wait for. A message whose delay or lease has
-- ended counts as waiting, even before the next Take. Returns {waiting,
-- delayed, leased, size, since}: size is the sum of size over the ids in lines,
-- since is the earliest one among them, 0 if there is none.
local after = '(' .. now()
local delayed = redis.call('ZCOUNT', delays, after, '+inf')
local leased = redis.call('ZCOUNT', leases, after, '+inf')
local oldest = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
return {
  redis.call('HLEN', messages) - delayed - leased, delayed, leased,
  tonumber(redis.call('GET', size) or 0), tonumber(oldest[2] or 0),
}
