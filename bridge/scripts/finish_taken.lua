-- Ends tasks of a list or a sorted set (see outcomes.lua, which stands before this text). What becomes of a task is
-- written if, and only if, this call takes it out of what its consumer has taken.
--
-- ARGV[1] is the kind, list or sorted-set; the id of a record is the task itself.
local taken = name .. ':taken:' .. consumer
local attempts = name .. ':attempts'
local has_attempts = redis.call('EXISTS', attempts) == 1
local score  -- of the member that was taken out last

local function take_out(id)
  if group == 'list' then return redis.call('LREM', taken, 1, id) == 1 end
  score = redis.call('ZSCORE', taken, id)
  return score and redis.call('ZREM', taken, id) == 1
end

local function put_back(id)
  if group == 'list' then
    redis.call('RPUSH', taken, id)
  else
    redis.call('ZADD', taken, score, id)
  end
end

local function forget_attempts(id)
  if has_attempts then redis.call('HDEL', attempts, redis.sha1hex(id)) end
end

local function take_out_and_forget(id)
  if not take_out(id) then return false end
  forget_attempts(id)
  return true
end

-- A list may have equal tasks: what tells them apart is the place in this call, and the time.
local function later(id, origin, attempt, due, reason)
  if not take_out(id) then return 0 end
  local time = redis.call('TIME')
  local member = cmsgpack.pack({id, score or '', consumer .. ' ' .. time[1] .. '.' .. time[2] .. ' ' .. at})
  local failure = delay(member, due)
  if failure then
    put_back(id)
    return failure
  end
  if tonumber(attempt) > 0 then redis.call('HSET', attempts, redis.sha1hex(id), attempt) end
  return 1
end

local function bury(id, origin, attempt, reason)
  if not take_out(id) then return 0 end
  local failure = failure_of(redis.pcall('XADD', dead, '*', 'payload', id, 'ipcq-attempt', attempt, 'ipcq-reason', reason,
    'ipcq-kind', group))
  if failure then
    put_back(id)
    return failure
  end
  forget_attempts(id)
  return 1
end

return end_all({take_out = take_out_and_forget, put_back = put_back, later = later, bury = bury})
