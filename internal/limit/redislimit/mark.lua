-- Sets a mark.
--   KEYS[1]        mark
--   ARGV[2] life   ms
keep(KEYS[1], now + tonumber(ARGV[2]))
