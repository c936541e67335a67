-- Adds a task to a stream, now or later; of several with one key only the first.
--
-- KEYS  stream, delayed tasks, record of the key (or only two, without a key)
-- ARGV  ms that the record stays, ms until the task is due or nothing, id of a task that is not due yet, then names and
--       values of its fields
-- Returns {id of the task, 1: it was added, 0: there was one with this key}.
if KEYS[3] then
  local id = redis.call('GET', KEYS[3])
  if id then return {id, 0} end
end
local stay, due_in = tonumber(ARGV[1]), tonumber(ARGV[2] == '' and '0' or ARGV[2])
if not stay or stay < 1 or stay > 1e12 then return redis.error_reply('a key is remembered for 1 ms to 1e12 ms') end
if not due_in or due_in > 1e12 then return redis.error_reply('a task is due in 1e12 ms at most') end
if #ARGV > 7000 then return redis.error_reply('a task has 3500 fields at most') end
local fields = {}
for i = 4, #ARGV do fields[i - 3] = ARGV[i] end
local id
if ARGV[2] == '' then
  id = redis.call('XADD', KEYS[1], '*', unpack(fields))
else
  id = ARGV[3]
  fields[#fields + 1] = 'ipcq-id'
  fields[#fields + 1] = id
  local time = redis.call('TIME')
  local due = time[1] * 1000 + math.floor(time[2] / 1000) + due_in
  redis.call('ZADD', KEYS[2], due, cmsgpack.pack(fields))
end
if KEYS[3] then redis.call('SET', KEYS[3], id, 'PX', ARGV[1]) end
return {id, 1}
