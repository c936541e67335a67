-- Puts tasks that are due into their stream.
--
-- KEYS  delayed, stream, dead
-- ARGV  most tasks
-- Returns {tasks moved, ms until the next one is due or -1, members that are no task and went to the dead letters}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])
local bad = 0
for _, member in ipairs(due) do
  local read, fields = pcall(cmsgpack.unpack, member)
  local added = read and type(fields) == 'table' and #fields > 0 and #fields % 2 == 0 and
    pcall(redis.call, 'XADD', KEYS[2], '*', unpack(fields))
  if not added then
    redis.call('XADD', KEYS[3], '*', 'payload', member, 'ipcq-reason', 'in ' .. KEYS[1] .. ', and no task')
    bad = bad + 1
  end
  redis.call('ZREM', KEYS[1], member)
end
local next_one = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local wait = next_one[2] and math.max(0, math.ceil(tonumber(next_one[2]) - now)) or -1
return {#due - bad, wait, bad}
