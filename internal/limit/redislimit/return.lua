-- Gives back one to each budget. Keys and arguments are those of take. The first
-- write needs no memory, so a full Redis refuses none.
for i, key in ipairs(KEYS) do
  local burst, every = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local at = full(key, burst, every) - every
  redis.call('DEL', key)
  if at > now then
    keep(key, at)
  end
end
