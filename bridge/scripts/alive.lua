-- Says that a consumer lives.
--
-- KEYS  list or sorted set
-- ARGV  consumer
local time = redis.call('TIME')
return redis.call('ZADD', KEYS[1] .. ':consumers', time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
