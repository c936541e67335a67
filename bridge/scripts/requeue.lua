-- Puts dead letters of a stream back into it, as new tasks that keep their ids.
--
-- KEYS  dead letters, stream
-- ARGV  most of them, or ids of some behind a 0
-- Returns how many.
local entries = {}
if ARGV[1] == '0' then
  for i = 2, #ARGV do entries[#entries + 1] = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1] end
else
  entries = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])
end
for _, entry in ipairs(entries) do
  local fields = {}
  for i = 1, #entry[2], 2 do
    local name = entry[2][i]
    if name ~= 'ipcq-attempt' and name ~= 'ipcq-reason' then
      fields[#fields + 1] = name
      fields[#fields + 1] = entry[2][i + 1]
    end
  end
  redis.call('XADD', KEYS[2], '*', unpack(fields))
  redis.call('XDEL', KEYS[1], entry[1])
end
return #entries
