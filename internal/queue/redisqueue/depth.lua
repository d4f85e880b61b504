-- Counts messages by what they wait for. A delay or lease that has ended counts
-- as waiting, though no Take has looked since.
-- Returns {waiting, delayed, leased}.
local after = '(' .. now()
local delayed = redis.call('ZCOUNT', delays, after, '+inf')
local leased = redis.call('ZCOUNT', leases, after, '+inf')
return {redis.call('HLEN', messages) - delayed - leased, delayed, leased}
