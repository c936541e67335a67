-- What a consumer has taken: after a lost connection, some of it did not come.
--
-- KEYS  list or sorted set
-- ARGV  kind, consumer
-- Returns {task, attempts before}...
local attempts = KEYS[1] .. ':attempts'
local taken = KEYS[1] .. ':taken:' .. ARGV[2]
local tasks = ARGV[1] == 'list' and redis.call('LRANGE', taken, 0, -1) or redis.call('ZRANGE', taken, 0, -1)
local answer = {}
for i, task in ipairs(tasks) do
  answer[i] = {task, tonumber(redis.call('HGET', attempts, redis.sha1hex(task)) or '0')}
end
return answer
