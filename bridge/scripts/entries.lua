-- What the scripts that handle entries of streams share; their texts follow this one.

local function failure_of(answer) return type(answer) == 'table' and answer.err or nil end

-- The fields of an entry as a list of names and values, without those that bridges add, and these by their names.
local function split_fields(entry)
  local fields, ours = {}, {}
  for i = 1, #entry, 2 do
    local name, value = entry[i], entry[i + 1]
    if name == 'ipcq-id' or name == 'ipcq-attempt' or name == 'ipcq-reason' then
      ours[name] = value
    else
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  return fields, ours
end

local function add_ours(fields, origin, attempt, reason)
  for _, text in ipairs({'ipcq-id', origin, 'ipcq-attempt', attempt, 'ipcq-reason', reason}) do
    fields[#fields + 1] = text
  end
  return fields
end

-- Adds an entry; returns why it cannot be. Lua hands a function some 8000 values: of an entry with more, bridges refuse
-- the work, and its dead letter has all fields in one, packed.
local function add_entry(key, fields)
  if #fields > 7000 then
    local ours = {}
    for i = 1, #fields, 2 do
      if string.sub(fields[i], 1, 5) == 'ipcq-' then
        ours[#ours + 1] = fields[i]
        ours[#ours + 1] = fields[i + 1]
      end
    end
    ours[#ours + 1] = 'ipcq-packed'
    ours[#ours + 1] = cmsgpack.pack(fields)
    fields = ours
  end
  return failure_of(redis.pcall('XADD', key, '*', unpack(fields)))
end

-- KIND:NAME, or NAME alone for a list; nothing where it is neither.
local function parse_reply_to(text)
  for _, kind in ipairs({'stream', 'list', 'key', 'channel'}) do
    if string.sub(text, 1, #kind + 1) == kind .. ':' then
      local key = string.sub(text, #kind + 2)
      if key == '' then return nil end
      return kind, key
    end
  end
  if text == '' then return nil end
  return 'list', text
end

-- Tells whoever waits for a task what has become of it; returns why it cannot. `stay`: ms that lists and keys stay;
-- `results`: a list of all results, which stays.
local function send_reply(kind, key, origin, status, body, stay, results)
  if kind == 'stream' then
    return failure_of(redis.pcall('XADD', key, '*', 'id', origin, 'status', status, 'result', body))
  elseif kind == 'channel' then
    return failure_of(redis.pcall('PUBLISH', key, status .. ' ' .. origin .. '\n' .. body))
  end
  local answer
  if kind == 'list' then
    answer = redis.pcall('RPUSH', key, status .. ' ' .. origin .. '\n' .. body)
  else
    answer = redis.pcall('HSET', key, 'id', origin, 'status', status, 'result', body)
  end
  return failure_of(answer) or (key ~= results and failure_of(redis.pcall('PEXPIRE', key, stay)) or nil)
end

