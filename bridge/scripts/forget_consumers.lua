-- Removes consumers that have nothing: this one, which leaves, or those that have not asked for anything for long. A
-- consumer that comes back is made anew by what it asks.
--
-- KEYS  stream
-- ARGV  group, consumer that leaves or nothing, ms without a question that are long
-- Returns how many.
local count = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local about = {}
  for i = 1, #consumer, 2 do about[consumer[i]] = consumer[i + 1] end
  if about['pending'] == 0 and (about['name'] == ARGV[2] or about['idle'] > tonumber(ARGV[3])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], about['name'])
    count = count + 1
  end
end
return count
