-- How many tasks of a list or sorted set are not done: those that are not due yet, and those that others have.
--
-- KEYS  list or sorted set
-- ARGV  kind
local count = ARGV[1] == 'list' and redis.call('LLEN', KEYS[1]) or redis.call('ZCARD', KEYS[1])
for _, consumer in ipairs(redis.call('ZRANGE', KEYS[1] .. ':consumers', 0, -1)) do
  count = count + redis.call('EXISTS', KEYS[1] .. ':taken:' .. consumer)
end
return count
