-- What the scripts finish_entries and finish_taken share; it stands behind entries.lua and before their texts.
--
-- KEYS  the stream, list or sorted set; results; delayed tasks; dead letters; then the keys that replies go to
-- ARGV  the group or kind, consumer, kind of results, ms that results and replies which are keys stay, bytes from which on
--       a result in a stream stands in a key of its own, then records:
--   result  id  origin  kind of reply  index of its key  number of parts  part...
--   later   id  origin  attempt  due (ms from now)  reason
--   dead    id  origin  attempt  reason  kind of reply  index of its key
-- They return for each record 1: done; 0: it was not this consumer's, or pending, any more, and nothing was written; 2:
-- done, but its reply could not be written; 3: its entry was deleted, and nothing was written; a text: nothing was written, for this reason, and all is as before.
local name, results, delayed, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, consumer, kind, stay = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local largest = tonumber(ARGV[5])
local at = 6
local now

local function next_arguments(count)
  local first = at
  at = at + count
  return unpack(ARGV, first, at - 1)
end

-- Writes a part of a result; returns why it cannot be, or nothing and what takes it back.
local function write_result(origin, part, parts, body)
  if kind == 'stream' then
    local field, key = 'result', nil
    if #body > largest then
      key = results .. ':' .. origin .. (parts > 1 and ':' .. part or '')
      local failure = failure_of(redis.pcall('SET', key, body, 'PX', stay))
      if failure then return failure end
      field, body = 'result-key', key
    end
    local id
    if parts > 1 then
      id = redis.pcall('XADD', results, '*', 'id', origin, 'part', part, field, body)
    else
      id = redis.pcall('XADD', results, '*', 'id', origin, field, body)
    end
    if failure_of(id) then return failure_of(id) end
    return nil, {'XDEL', results, id}
  elseif kind == 'list' then
    return failure_of(redis.pcall('RPUSH', results, body)), {'RPOP', results}
  elseif kind == 'channel' then
    return failure_of(redis.pcall('PUBLISH', results, body))
  elseif kind == 'key' then
    local key = results .. origin
    if part > 1 then return failure_of(redis.pcall('APPEND', key, body)), {'DEL', key} end
    return failure_of(redis.pcall('SET', key, body, 'PX', stay)), {'DEL', key}
  end
end

local function write_reply(reply_kind, index, origin, status, body)
  if reply_kind == '' then return nil end
  return send_reply(reply_kind, KEYS[4 + tonumber(index)], origin, status, body, stay, kind == 'list' and results or nil)
end

-- Adds a member to the delayed tasks; returns why it cannot be.
local function delay(member, due)
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return failure_of(redis.pcall('ZADD', delayed, now + tonumber(due), member))
end

-- Writes all parts of a result, or none; returns why it cannot.
local function write_all(origin, first, parts)
  local undo = {}
  for part = 1, parts do
    local failure, taking_back = write_result(origin, part, parts, ARGV[first + part - 1])
    if failure then
      for i = #undo, 1, -1 do redis.pcall(unpack(undo[i])) end
      return failure
    end
    undo[#undo + 1] = taking_back
  end
end

-- `of`: what differs between streams and lists. take_out(id): whether it was there; put_back(id) undoes that; later(id,
-- origin, attempt, due, reason) and bury(id, origin, attempt, reason) do both and return the record's answer.
local function end_all(of)
  local answers = {}
  while at <= #ARGV do
    local ending = next_arguments(1)
    local answer
    if ending == 'result' then
      local id, origin, reply_kind, index, parts = next_arguments(5)
      parts = tonumber(parts)
      local first = at
      at = at + parts
      if not of.take_out(id) then
        answer = 0
      else
        answer = write_all(origin, first, parts)
        if answer then
          of.put_back(id)
        else
          local body = parts == 1 and ARGV[first] or table.concat(ARGV, '', first, first + parts - 1)
          answer = write_reply(reply_kind, index, origin, 'ok', body) and 2 or 1
        end
      end
    elseif ending == 'later' then
      answer = of.later(next_arguments(5))
    else
      local id, origin, attempt, reason, reply_kind, index = next_arguments(6)
      answer = of.bury(id, origin, attempt, reason)
      if answer == 1 and write_reply(reply_kind, index, origin, 'dead', reason) then answer = 2 end
    end
    answers[#answers + 1] = answer
  end
  return answers
end

