-- Deletes entries that every group of the stream has acknowledged, and that are old enough.
--
-- KEYS  stream
-- ARGV  ms that an entry stays at least
-- Returns how many.

-- As texts: the numbers may have more digits than Lua's have.
local function is_less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
local function is_before(a, b)
  local a_ms, a_sequence = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_sequence = string.match(b, '^(%d+)-(%d+)$')
  return is_less(a_ms, b_ms) or (a_ms == b_ms and is_less(a_sequence, b_sequence))
end

local oldest
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local about = {}
  for i = 1, #group, 2 do about[group[i]] = group[i + 1] end
  local pending = redis.call('XPENDING', KEYS[1], about['name'])
  local first = pending[1] > 0 and pending[2] or about['last-delivered-id']
  if not oldest or is_before(first, oldest) then oldest = first end
end
if not oldest then return 0 end
local time = redis.call('TIME')
local young = string.format('%.0f-0', math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[1])))
if is_before(young, oldest) then oldest = young end
return redis.call('XTRIM', KEYS[1], 'MINID', '~', oldest)
