-- Removes a leased message.
--   ARGV[6] id
--   ARGV[7] which delivery
-- Returns 1, or 0 if the lease is not this delivery's any more.
if not held(ARGV[6], ARGV[7]) then
  return answer(0, false)
end
redis.call('ZREM', leases, ARGV[6])
redis.call('HDEL', messages, ARGV[6])
redis.call('HDEL', deliveries, ARGV[6])
return answer(1, true)
