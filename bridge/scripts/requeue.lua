-- Puts dead letters back where their tasks came from: into a stream as new tasks that keep their
-- ids, into a list, or into a sorted set with score 0.
--
-- KEYS  dead letters, stream, list or sorted set
-- ARGV  most of them, or a 0 and then ids: of the dead letters, or of their tasks
-- Returns how many.
local wanted
if ARGV[1] == '0' then
  wanted = {}
  for i = 2, #ARGV do wanted[ARGV[i]] = true end
end
local kind = redis.call('TYPE', KEYS[2])['ok']
local count, start = 0, '-'
local most = wanted and math.huge or tonumber(ARGV[1])
while count < most do
  local entries = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', 1000)
  for _, entry in ipairs(entries) do
    start = '(' .. entry[1]
    local fields, origin = {}, nil
    for i = 1, #entry[2], 2 do
      local name, value = entry[2][i], entry[2][i + 1]
      if name == 'ipcq-id' then
        origin = value
      elseif name ~= 'ipcq-attempt' and name ~= 'ipcq-reason' then
        fields[#fields + 1] = name
        fields[#fields + 1] = value
      end
    end
    if count < most and (not wanted or wanted[entry[1]] or (origin and wanted[origin])) then
      if kind == 'list' or kind == 'zset' then
        if fields[1] ~= 'payload' or origin then
          return redis.error_reply(entry[1] .. ' is the dead letter of a stream, and ' .. KEYS[2] .. ' holds a ' .. kind)
        end
        if kind == 'list' then redis.call('RPUSH', KEYS[2], fields[2]) else redis.call('ZADD', KEYS[2], 0, fields[2]) end
      else
        if not origin then
          return redis.error_reply(entry[1] .. ' is the dead letter of a list or sorted set, and there is no ' .. KEYS[2] ..
            ' to put it into: RPUSH or ZADD it')
        end
        if #fields > 7000 or fields[1] == 'ipcq-packed' then
          return redis.error_reply(entry[1] .. ' has too many fields to be put back')
        end
        fields[#fields + 1] = 'ipcq-id'
        fields[#fields + 1] = origin
        redis.call('XADD', KEYS[2], '*', unpack(fields))
      end
      redis.call('XDEL', KEYS[1], entry[1])
      count = count + 1
    end
  end
  if #entries < 1000 then break end
end
return count
