-- Takes one from each budget, or none from any (GCRA, as in limit.Memory).
--   KEYS[i]            budget
--   ARGV[2i] burst     tries that it holds
--   ARGV[2i+1] every   ms until one comes back
-- Returns 0 if it took, else how long to wait, ms.
local wait, at = 0, {}
for i, key in ipairs(KEYS) do
  local burst, every = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  at[i] = full(key, burst, every) + every
  wait = math.max(wait, at[i] - now - burst * every)
end
if wait == 0 then
  for i, key in ipairs(KEYS) do
    keep(key, at[i])
  end
end
return wait
