-- How many tasks of a source there are, for who watches it.
--
-- KEYS  the stream, list or sorted set; delayed tasks; dead letters
-- ARGV  the kind: stream, list or sorted-set; the group of a stream
-- Returns {waiting, taken, delayed, dead}; -1 where the server cannot say. Waiting: nobody has them yet. Taken: by all
-- consumers together, and not ended.
local name = KEYS[1]
local kind, group = ARGV[1], ARGV[2]

local function counted(...)
  local answer = redis.pcall(...)
  return type(answer) == 'number' and answer or -1
end

local waiting, taken = 0, 0
if kind == 'stream' then
  local groups = redis.pcall('XINFO', 'GROUPS', name)
  if groups.err then
    if not string.find(groups.err, 'no such key', 1, true) then
      waiting, taken = -1, -1
    end
    groups = {}
  end
  for _, about in ipairs(groups) do
    local of = {}
    for i = 1, #about, 2 do of[about[i]] = about[i + 1] end
    if of.name == group then
      waiting, taken = of.lag or -1, of.pending
    end
  end
else
  local count = kind == 'list' and 'LLEN' or 'ZCARD'
  waiting = counted(count, name)
  for _, consumer in ipairs(redis.call('ZRANGE', name .. ':consumers', 0, -1)) do
    taken = taken + math.max(0, counted(count, name .. ':taken:' .. consumer))
  end
end
return {waiting, taken, counted('ZCARD', KEYS[2]), counted('XLEN', KEYS[3])}
