-- Names the queue's present life.
--   KEYS[1] generation  STRING
--   ARGV[1] the name to use if there is none
-- Returns the name.
redis.call('SETNX', KEYS[1], ARGV[1])
return redis.call('GET', KEYS[1])
