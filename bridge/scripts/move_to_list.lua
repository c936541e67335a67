-- Puts delayed tasks that are due back into their list or sorted set.
--
-- KEYS  delayed, list or sorted set, dead letters
-- ARGV  most tasks, kind
-- Returns {tasks moved, ms until the next one is due or -1, members that are no task and went to the dead letters,
-- nothing}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])
local bad = 0
for _, member in ipairs(due) do
  local read, parts = pcall(cmsgpack.unpack, member)
  if not read or type(parts) ~= 'table' or type(parts[1]) ~= 'string' then
    redis.call('XADD', KEYS[3], '*', 'payload', member, 'ipcq-reason', 'in ' .. KEYS[1] .. ', and no task')
    bad = bad + 1
  elseif ARGV[2] == 'list' then
    redis.call('RPUSH', KEYS[2], parts[1])
  else
    redis.call('ZADD', KEYS[2], tonumber(parts[2]) or 0, parts[1])
  end
  redis.call('ZREM', KEYS[1], member)
end
local next_one = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local wait = next_one[2] and math.min(1e9, math.max(0, math.ceil(tonumber(next_one[2]) - now))) or -1
return {#due - bad, wait, bad, ''}
