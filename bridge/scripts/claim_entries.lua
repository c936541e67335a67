-- Takes over tasks of consumers that have not renewed them. One that was delivered too often goes to the dead letters:
-- it may be what its bridges have died of.
--
-- KEYS  stream, dead
-- ARGV  group, consumer, ms from which on a task is nobody's, most tasks, deliveries that are too many, reason for these
-- Returns {tasks that went to the dead letters, {id, deliveries before, fields}...}.
local stream, dead = KEYS[1], KEYS[2]
local group, consumer, idle, most, too_many, reason = unpack(ARGV)
local answer = {0}
for _, pending in ipairs(redis.call('XPENDING', stream, group, 'IDLE', idle, '-', '+', most)) do
  local id, deliveries = pending[1], pending[4]
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry then
    redis.call('XACK', stream, group, id)  -- deleted: nobody can work on it
  elseif deliveries >= tonumber(too_many) then
    local fields, origin, earlier = {}, id, 0
    for i = 1, #entry[2], 2 do
      local name, value = entry[2][i], entry[2][i + 1]
      if name == 'ipcq-id' then
        origin = value
      elseif name == 'ipcq-attempt' then
        earlier = tonumber(value) or 0
      elseif name ~= 'ipcq-reason' then
        fields[#fields + 1] = name
        fields[#fields + 1] = value
      end
    end
    for _, text in ipairs({'ipcq-id', origin, 'ipcq-attempt', earlier + deliveries, 'ipcq-reason', reason}) do
      fields[#fields + 1] = text
    end
    redis.call('XADD', dead, '*', unpack(fields))
    redis.call('XACK', stream, group, id)
    answer[1] = answer[1] + 1
  else
    redis.call('XCLAIM', stream, group, consumer, idle, id)
    answer[#answer + 1] = {id, deliveries, entry[2]}
  end
end
return answer
