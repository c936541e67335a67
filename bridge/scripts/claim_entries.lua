-- Takes over tasks (behind entries.lua): of consumers that have not renewed them; or, when a bridge begins, of the one
-- that had its name before. One that was delivered too often goes to the dead letters: it may be what its bridges have
-- died of.
--
-- KEYS  stream, dead
-- ARGV  group, consumer, ms from which on a task is nobody's, most tasks, deliveries that are too many, reason for these,
--       ms that replies stay, "own" for the tasks of this very consumer, id to begin with or -
-- Returns {tasks that went to the dead letters, {id, deliveries before, fields}...}.
local stream, dead = KEYS[1], KEYS[2]
local group, consumer, idle, most, too_many, reason, stay, whose, start = unpack(ARGV)
most, too_many = tonumber(most), tonumber(too_many)
local answer = {0}

local function bury(id, entry, deliveries)
  local fields, ours = split_fields(entry)
  local origin = ours['ipcq-id'] or id
  local reply_kind, reply_key
  for i = 1, #fields, 2 do
    if fields[i] == 'reply-to' then reply_kind, reply_key = parse_reply_to(fields[i + 1]) end
  end
  local earlier = tonumber(ours['ipcq-attempt'] or '0') or 0
  if add_entry(dead, add_ours(fields, origin, earlier + deliveries, reason)) then return end  -- it stays as it is
  redis.call('XACK', stream, group, id)
  answer[1] = answer[1] + 1
  if reply_kind then send_reply(reply_kind, reply_key, origin, 'dead', reason, stay) end
end

local function take_over(id, deliveries)
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry then
    redis.call('XACK', stream, group, id)  -- deleted: nobody can work on it
  elseif deliveries >= too_many then
    bury(id, entry[2], deliveries)
  else
    redis.call('XCLAIM', stream, group, consumer, 0, id)
    answer[#answer + 1] = {id, deliveries, entry[2]}
  end
end

-- What this consumer works on is not nobody's, however late it renews. Its own may stand before the others'.
local looked = 0
while #answer <= most and looked < 10000 do
  local pending
  if whose == 'own' then
    pending = redis.call('XPENDING', stream, group, start, '+', most, consumer)
  else
    pending = redis.call('XPENDING', stream, group, 'IDLE', idle, start, '+', most)
  end
  for _, each in ipairs(pending) do
    if #answer <= most and (whose == 'own' or each[2] ~= consumer) then take_over(each[1], each[4]) end
    start = '(' .. each[1]
  end
  looked = looked + #pending
  if #pending < most then break end
end
return answer
