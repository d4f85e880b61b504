-- Removes a leased message.
--   ARGV[3] id
--   ARGV[4] which delivery
-- Returns 1, or 0 if the lease is not this delivery's any more.
if not held(ARGV[3], ARGV[4]) then
  return 0
end
redis.call('ZREM', leases, ARGV[3])
redis.call('HDEL', messages, ARGV[3])
redis.call('HDEL', deliveries, ARGV[3])
return 1
