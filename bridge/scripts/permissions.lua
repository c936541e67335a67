-- Which of the commands that a bridge needs its user may not run, or not with these keys. Nothing stays of it: commands
-- that read, or write only what is there, on keys that are not; what it must write it takes back at once.
--
-- KEYS  a key of the source's, a key of the results', neither of which exists
-- ARGV  what for: stream, list, left (tasks are put back there), wait (of a list), sorted-set, rest, trim, rate, sizes,
--       results-stream, results-list, results-key
-- Returns their names; or that of a key, with a : before it.
local key, results = KEYS[1], KEYS[2]
local refused, told = {}, {}

local function tell(text)
  if not told[text] then
    told[text] = true
    refused[#refused + 1] = text
  end
end

-- What keeps the user from running it with these arguments: its name, or that of a key; other errors do not count.
local function refusal(command, ...)
  local answer = redis.pcall(command, ...)
  local text = type(answer) == 'table' and answer.err or ''
  if string.find(text, "can't run this command", 1, true) or string.find(text, 'to run the', 1, true) then
    return string.lower(command)
  elseif string.find(text, 'access', 1, true) and string.find(text, 'key', 1, true) then
    return ':key'
  end
end

local function may(command, ...)
  local why = refusal(command, ...)
  if why then tell(why) end
  return not why
end

local function may_ask(command, subcommand, ...)
  local why = refusal(command, subcommand, ...)
  if why == string.lower(command) then why = why .. '|' .. string.lower(subcommand) end
  if why then tell(why) end
end

-- Only where it can be taken back.
local function may_push(command, name)
  if not refusal('RPOP', name) and may(command, name, 'ipcq') then redis.pcall('RPOP', name) end
end

local function may_count_attempts()
  may('HGET', key, 'a')
  if may('HDEL', key, 'a') then
    if may('HSET', key, 'a', '1') then redis.pcall('HDEL', key, 'a') end
    if may('HINCRBY', key, 'a', 1) then redis.pcall('HDEL', key, 'a') end
  end
end

local function may_delay()
  may('ZADD', key, 'XX', 0, 'a')
  may('ZREM', key, 'a')
  may('ZRANGE', key, 0, 0)
  may('XADD', key, 'NOMKSTREAM', '*', 'a', 'b')
end

local function may_take()
  may_delay()
  may_count_attempts()
  may('EXISTS', key)
end

local uses = {
  stream = function()
    may_delay()
    may('XREADGROUP', 'GROUP', 'ipcq', 'ipcq', 'STREAMS', key, '>')
    may('XACK', key, 'ipcq', '0-1')
    may('XRANGE', key, '0-1', '0-1')
    may('XPENDING', key, 'ipcq')
    may('XCLAIM', key, 'ipcq', 'ipcq', 0, '0-1')
    may_ask('XINFO', 'GROUPS', key)
  end,
  list = function()
    may_take()
    may('LRANGE', key, 0, 0)
    may('LTRIM', key, 0, 0)
    may('LREM', key, 1, 'a')
    may('RPOP', key)
    may_push('RPUSH', key)
  end,
  left = function() may_push('LPUSH', key) end,
  wait = function() end,  -- BLMOVE says nothing here: whoever runs this tries it
  ['sorted-set'] = function()
    may_take()
    may('ZSCORE', key, 'a')
  end,
  rest = function()
    may('LLEN', key)
    may('ZCARD', key)
  end,
  trim = function() may('XTRIM', key, 'MAXLEN', 0) end,
  rate = function()
    may('HMGET', key, 'a')
    if may('PEXPIRE', key, 1) and may('HSET', key, 'a', '1') then redis.pcall('PEXPIRE', key, -1) end
  end,
  sizes = function()
    may('ZCARD', key)
    may('XLEN', key)
  end,
  ['results-stream'] = function() may('XADD', results, 'NOMKSTREAM', '*', 'a', 'b') end,
  ['results-list'] = function() may_push('RPUSH', results) end,
  ['results-key'] = function() may('SET', results, 'a', 'XX') end,
}

-- TIME has no key, and no error of its own.
local time = redis.pcall('TIME')
if time.err then tell('time') end
for _, use in ipairs(ARGV) do uses[use]() end
return refused
