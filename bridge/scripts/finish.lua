-- Ends tasks of a stream. What becomes of a task is written if, and only if, this call takes its entry out of the
-- group's pending ones: so it is written once, however many bridges have worked on it.
--
-- KEYS  stream, results, delayed, dead, then the keys that replies go to
-- ARGV  group, consumer, kind of results, ms that results and replies which are keys stay, then records:
--   result  id  origin  kind of reply  index of its key  number of parts  part...
--   later   id  origin  attempt  due (ms, of the server's clock from now)  reason
--   dead    id  origin  attempt  reason  kind of reply  index of its key
-- Returns for each record 1: done; 0: it was not pending any more, nothing was written; 2: done, but its reply could not
-- be written; a text: nothing was written, for this reason, and it is pending as before.
local stream, results, delayed, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, consumer, kind, stay = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local now
local at = 5
local answers = {}

local function next_arguments(count)
  local first = at
  at = at + count
  return unpack(ARGV, first, at - 1)
end

local function failure_of(answer) return type(answer) == 'table' and answer.err or nil end

-- The fields of an entry without those that bridges add; nil where it was deleted.
local function fields_of(id)
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry then return nil end
  local fields = {}
  for i = 1, #entry[2], 2 do
    local name = entry[2][i]
    if name ~= 'ipcq-id' and name ~= 'ipcq-attempt' and name ~= 'ipcq-reason' then
      fields[#fields + 1] = name
      fields[#fields + 1] = entry[2][i + 1]
    end
  end
  return fields
end

local function add_ours(fields, origin, attempt, reason)
  for _, text in ipairs({'ipcq-id', origin, 'ipcq-attempt', attempt, 'ipcq-reason', reason}) do
    fields[#fields + 1] = text
  end
  return fields
end

local function write_result(origin, part, parts, body)
  if kind == 'stream' then
    if parts > 1 then return redis.pcall('XADD', results, '*', 'id', origin, 'part', part, 'result', body) end
    return redis.pcall('XADD', results, '*', 'id', origin, 'result', body)
  elseif kind == 'list' then
    return redis.pcall('RPUSH', results, body)
  elseif kind == 'channel' then
    return redis.pcall('PUBLISH', results, body)
  elseif kind == 'key' then
    local key = results .. origin
    if part > 1 then return redis.pcall('APPEND', key, body) end
    return redis.pcall('SET', key, body, 'PX', stay)
  end
end

local function write_reply(reply_kind, index, origin, status, body)
  if reply_kind == '' then return nil end
  local key = KEYS[4 + tonumber(index)]
  if reply_kind == 'stream' then
    return failure_of(redis.pcall('XADD', key, '*', 'id', origin, 'status', status, 'result', body))
  elseif reply_kind == 'channel' then
    return failure_of(redis.pcall('PUBLISH', key, status .. ' ' .. origin .. '\n' .. body))
  end
  local answer
  if reply_kind == 'list' then
    answer = redis.pcall('RPUSH', key, status .. ' ' .. origin .. '\n' .. body)
  else
    answer = redis.pcall('HSET', key, 'id', origin, 'status', status, 'result', body)
  end
  return failure_of(answer) or failure_of(redis.pcall('PEXPIRE', key, stay))
end

-- What a failure to write leaves: the entry is this consumer's again, as before the call.
local function take_back(id, reason)
  redis.call('XCLAIM', stream, group, consumer, 0, id, 'FORCE', 'JUSTID')
  return reason
end

local function result()
  local id, origin, reply_kind, index, parts = next_arguments(5)
  parts = tonumber(parts)
  local first = at
  at = at + parts
  if redis.call('XACK', stream, group, id) == 0 then return 0 end
  for part = 1, parts do
    local failure = failure_of(write_result(origin, part, parts, ARGV[first + part - 1]))
    if failure then return take_back(id, failure) end
  end
  local body = parts == 1 and ARGV[first] or table.concat(ARGV, '', first, first + parts - 1)
  return write_reply(reply_kind, index, origin, 'ok', body) and 2 or 1
end

local function later()
  local id, origin, attempt, due, reason = next_arguments(5)
  local fields = fields_of(id)
  if redis.call('XACK', stream, group, id) == 0 then return 0 end
  if not fields then return 1 end
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  local member = cmsgpack.pack(add_ours(fields, origin, attempt, reason))
  local failure = failure_of(redis.pcall('ZADD', delayed, now + tonumber(due), member))
  return failure and take_back(id, failure) or 1
end

local function bury()
  local id, origin, attempt, reason, reply_kind, index = next_arguments(6)
  local fields = fields_of(id)
  if redis.call('XACK', stream, group, id) == 0 then return 0 end
  if fields then
    local failure = failure_of(redis.pcall('XADD', dead, '*', unpack(add_ours(fields, origin, attempt, reason))))
    if failure then return take_back(id, failure) end
  end
  return write_reply(reply_kind, index, origin, 'dead', reason) and 2 or 1
end

local endings = {result = result, later = later, dead = bury}
while at <= #ARGV do
  local ending = endings[next_arguments(1)]
  answers[#answers + 1] = ending()
end
return answers
