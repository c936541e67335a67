-- Keeps tasks from being taken over: those of the ids that are still this consumer's.
--
-- KEYS  stream
-- ARGV  group, consumer, id...
-- Returns how many are.
local mine = {}
for i = 3, #ARGV do
  if redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1] then mine[#mine + 1] = ARGV[i] end
end
if #mine > 0 then
  mine[#mine + 1] = 'JUSTID'
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, unpack(mine))
  return #mine - 1
end
return 0
