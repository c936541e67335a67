-- Puts tasks that are due into their stream (behind entries.lua).
--
-- KEYS  delayed, stream, dead
-- ARGV  most tasks
-- Returns {tasks moved, ms until the next one is due or -1, members that are no task and went to the dead letters, why
-- a task cannot be added or nothing}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])
local moved, bad, why = 0, 0, ''
for _, member in ipairs(due) do
  local read, fields = pcall(cmsgpack.unpack, member)
  local failure
  if read and type(fields) == 'table' and #fields > 0 and #fields % 2 == 0 then
    failure = add_entry(KEYS[2], fields)
    if not failure then moved = moved + 1 end
  else
    failure = add_entry(KEYS[3], {'payload', member, 'ipcq-reason', 'in ' .. KEYS[1] .. ', and no task'})
    if not failure then bad = bad + 1 end
  end
  if failure then
    why = failure
    break
  end
  redis.call('ZREM', KEYS[1], member)
end
local next_one = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local wait = next_one[2] and math.min(1e9, math.max(0, math.ceil(tonumber(next_one[2]) - now))) or -1
if why ~= '' then wait = math.max(wait, 1000) end
return {moved, wait, bad, why}
