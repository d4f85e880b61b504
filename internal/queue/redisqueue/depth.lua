-- Counts messages by what they wait for. A delay or lease that has ended counts
-- as waiting, though no Take has looked since.
-- Returns {waiting, delayed, leased, size, since}: the sum of size over those in
-- lines, and the since of the one that waits longest, 0 where there is none.
local after = '(' .. now()
local delayed = redis.call('ZCOUNT', delays, after, '+inf')
local leased = redis.call('ZCOUNT', leases, after, '+inf')
local oldest = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
return {
  redis.call('HLEN', messages) - delayed - leased, delayed, leased,
  tonumber(redis.call('GET', size) or 0), tonumber(oldest[2] or 0),
}
