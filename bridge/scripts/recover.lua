-- Puts back what consumers had taken that have not said for a while that they live; or, when a bridge begins, the one that
-- had its name before. A task that was taken too often goes to
-- the dead letters: it may be what they have died of.
--
-- KEYS  the list or sorted set, dead letters
-- ARGV  kind, this consumer, ms after which a consumer is gone, most tasks, takings that are too many, reason for these,
--       where tasks are taken from: left or right of a list; "own" for this very consumer
-- Returns {tasks put back, tasks that went to the dead letters}.
local name, dead = KEYS[1], KEYS[2]
local kind, me, idle, most, too_many, reason, from, whose = unpack(ARGV)
local attempts, consumers = name .. ':attempts', name .. ':consumers'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
most, too_many = tonumber(most), tonumber(too_many)
local back, buried = 0, 0
local all_gone = {me}
if whose == 'own' then
  redis.call('ZADD', consumers, now, me)
else
  all_gone = redis.call('ZRANGE', consumers, '-inf', now - tonumber(idle), 'BYSCORE')
end
for _, gone in ipairs(all_gone) do
  local taken = name .. ':taken:' .. gone
  local tasks = {}
  if (gone ~= me or whose == 'own') and most > 0 then
    if kind == 'list' then
      for i, task in ipairs(redis.call('LRANGE', taken, -most, -1)) do tasks[i] = {task} end
    else
      local members = redis.call('ZRANGE', taken, 0, most - 1, 'WITHSCORES')
      for i = 1, #members, 2 do tasks[#tasks + 1] = {members[i], members[i + 1]} end
    end
  end
  for i = #tasks, 1, -1 do  -- the last first, so that the first is taken first again
    local task, score = tasks[i][1], tasks[i][2]
    local digest = redis.sha1hex(task)
    local takings = redis.call('HINCRBY', attempts, digest, 1)
    if takings >= too_many then
      redis.call('XADD', dead, '*', 'payload', task, 'ipcq-attempt', takings, 'ipcq-reason', reason,
        'ipcq-kind', kind)
      redis.call('HDEL', attempts, digest)
      buried = buried + 1
    elseif kind == 'list' then
      redis.call(from == 'left' and 'LPUSH' or 'RPUSH', name, task)
      back = back + 1
    else
      redis.call('ZADD', name, score, task)
      back = back + 1
    end
    if kind == 'list' then
      redis.call('RPOP', taken)
    else
      redis.call('ZREM', taken, task)
    end
  end
  most = most - #tasks
  -- One that is only stopped may have a BLMOVE waiting here, which takes what was just put back: it stays known for a
  -- minute, so that this is put back, too.
  local seen = redis.call('ZSCORE', consumers, gone)
  if gone ~= me and #tasks == 0 and now - seen > tonumber(idle) + 60000 and redis.call('EXISTS', taken) == 0 then
    redis.call('ZREM', consumers, gone)
  end
end
return {back, buried}
