-- Takes tasks out of a list or a sorted set, into what this consumer has taken.
--
-- KEYS  the list or sorted set
-- ARGV  kind, consumer, most tasks, where from: left or right of a list; least or due of a sorted set (due: those whose
--       score is a time in ms that has come); a task that BLMOVE has taken before, or nothing
-- Returns {task, attempts before}...
local name = KEYS[1]
local kind, consumer, most, from, first = unpack(ARGV)
local taken = name .. ':taken:' .. consumer
local attempts = name .. ':attempts'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', name .. ':consumers', now, consumer)  -- first: what is taken has a known owner
most = tonumber(most)
local tasks = {}
if most == 0 then
  tasks = {}
elseif kind == 'list' then
  if from == 'left' then
    tasks = redis.call('LRANGE', name, 0, most - 1)
  else
    local last = redis.call('LRANGE', name, -most, -1)
    for i = #last, 1, -1 do tasks[#tasks + 1] = last[i] end
  end
  if #tasks > 0 then
    redis.call('RPUSH', taken, unpack(tasks))
    if from == 'left' then
      redis.call('LTRIM', name, #tasks, -1)
    else
      redis.call('LTRIM', name, 0, -#tasks - 1)
    end
  end
else
  local members
  if from == 'due' then
    members = redis.call('ZRANGE', name, '-inf', now, 'BYSCORE', 'LIMIT', 0, most, 'WITHSCORES')
  else
    members = redis.call('ZRANGE', name, 0, most - 1, 'WITHSCORES')
  end
  for i = 1, #members, 2 do
    redis.call('ZADD', taken, members[i + 1], members[i])
    redis.call('ZREM', name, members[i])
    tasks[#tasks + 1] = members[i]
  end
end
if first then table.insert(tasks, 1, first) end
local has_attempts = redis.call('EXISTS', attempts) == 1
local answer = {}
for i, task in ipairs(tasks) do
  answer[i] = {task, has_attempts and tonumber(redis.call('HGET', attempts, redis.sha1hex(task)) or '0') or 0}
end
return answer
