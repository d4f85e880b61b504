-- Put before every script. All keys of a store have one slot of a cluster:
--   PREFIX:{limit}:budget:KEY  STRING  when the budget will be full again, ms since 1970; none if it is
--   PREFIX:{limit}:mark:KEY    STRING  when the mark ends, ms since 1970
-- and go by themselves at the time that they hold. The first argument is the same:
--   ARGV[1] shift  ms that this clock is ahead; 0 but in tests
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])

-- keep writes an end that is still to come.
local function keep(key, at)
  redis.call('SET', key, string.format('%.0f', at), 'PX', string.format('%.0f', at - now))
end

-- full is when a budget will be full, and not before now. If that is later than
-- when all of it is taken now, the clock has gone back, and it is then.
local function full(key, burst, every)
  local at, latest = tonumber(redis.call('GET', key) or now), now + burst * every
  if at > latest then
    at = latest
    keep(key, at)
  end
  return math.max(at, now)
end
