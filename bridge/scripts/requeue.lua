-- Puts dead letters back where their tasks came from: into a stream as new tasks that keep their ids, into a list, or into
-- a sorted set with score 0.
--
-- KEYS  dead letters, stream, list or sorted set
-- ARGV  most of them, or a 0 and then ids: of dead letters, or, where there is none of that id, of their tasks
-- Returns how many.
local type_now = redis.call('TYPE', KEYS[2])['ok']

-- Returns why it cannot be.
local function put_back(entry)
  local fields, origin, kind = {}, nil, nil
  for i = 1, #entry[2], 2 do
    local name, value = entry[2][i], entry[2][i + 1]
    if name == 'ipcq-id' then
      origin = value
    elseif name == 'ipcq-kind' then
      kind = value
    elseif name ~= 'ipcq-attempt' and name ~= 'ipcq-reason' then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  if type_now == 'list' or type_now == 'zset' then kind = type_now end
  if origin then
    if kind then return entry[1] .. ' is the dead letter of a stream, and ' .. KEYS[2] .. ' holds a ' .. kind end
    if #fields > 7000 or fields[1] == 'ipcq-packed' then return entry[1] .. ' has too many fields to be put back' end
    fields[#fields + 1] = 'ipcq-id'
    fields[#fields + 1] = origin
    redis.call('XADD', KEYS[2], '*', unpack(fields))
  elseif kind == 'list' then
    redis.call('RPUSH', KEYS[2], fields[2])
  elseif kind then
    redis.call('ZADD', KEYS[2], 0, fields[2])
  else
    return entry[1] .. ' was no task, or nobody knows where it came from: ' .. KEYS[2] .. ' is not there'
  end
  redis.call('XDEL', KEYS[1], entry[1])
end

local count, start, most = 0, '-', tonumber(ARGV[1])
local tasks
if most == 0 then
  most = math.huge
  for i = 2, #ARGV do
    local is_id = string.match(ARGV[i], '^%d+%-%d+$')
    local entry = is_id and redis.pcall('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]  -- none of too large a number
    if entry then
      local failure = put_back(entry)
      if failure then return redis.error_reply(failure) end
      count = count + 1
    else
      tasks = tasks or {}
      tasks[ARGV[i]] = true
    end
  end
  if not tasks then return count end
end

local function is_wanted(entry)
  if not tasks then return true end
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'ipcq-id' then return tasks[entry[2][i + 1]] end
  end
end

while count < most do
  local entries = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', 1000)
  for _, entry in ipairs(entries) do
    start = '(' .. entry[1]
    if count < most and is_wanted(entry) then
      local failure = put_back(entry)
      if failure then return redis.error_reply(failure) end
      count = count + 1
    end
  end
  if #entries < 1000 then break end
end
return count
