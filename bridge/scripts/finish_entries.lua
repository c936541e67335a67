-- Ends tasks of a stream (see outcomes.lua, which stands before this text). What becomes of a task is written if, and only
-- if, this call takes its entry out of the group's pending ones: so it is written once, however many bridges have worked
-- on it.
--
-- ARGV[1] is the group; the id of a record is that of the entry.

-- Nothing where the entry was deleted.
local function fields_of(id)
  local entry = redis.call('XRANGE', name, id, id)[1]
  return entry and split_fields(entry[2]) or nil
end

local function take_out(id) return redis.call('XACK', name, group, id) == 1 end

-- What a failure to write leaves: the entry is this consumer's again, as before the call.
local function put_back(id) redis.call('XCLAIM', name, group, consumer, 0, id, 'FORCE', 'JUSTID') end

local function later(id, origin, attempt, due, reason)
  local fields = fields_of(id)
  if not take_out(id) then return 0 end
  if not fields then return 3 end
  local failure = delay(cmsgpack.pack(add_ours(fields, origin, attempt, reason)), due)
  if failure then put_back(id) end
  return failure or 1
end

local function bury(id, origin, attempt, reason)
  local fields = fields_of(id)
  if not take_out(id) then return 0 end
  if not fields then return 3 end
  local failure = add_entry(dead, add_ours(fields, origin, attempt, reason))
  if failure then put_back(id) end
  return failure or 1
end

return end_all({take_out = take_out, put_back = put_back, later = later, bury = bury})
