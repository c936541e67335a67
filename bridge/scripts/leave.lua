-- Forgets a consumer that leaves, if it has nothing.
--
-- KEYS  list or sorted set
-- ARGV  consumer
if redis.call('EXISTS', KEYS[1] .. ':taken:' .. ARGV[1]) == 1 then return 0 end
return redis.call('ZREM', KEYS[1] .. ':consumers', ARGV[1])
