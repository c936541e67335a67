-- What the group has given to a consumer, without counting it again: after a lost connection, some of it did not come.
--
-- KEYS  stream
-- ARGV  group, consumer, id behind which to begin or -, most
-- Returns {id, deliveries so far, fields or nothing}...
local answer = {}
for i, each in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], '+', ARGV[4], ARGV[2])) do
  local entry = redis.call('XRANGE', KEYS[1], each[1], each[1])[1]
  answer[i] = {each[1], each[4], entry and entry[2] or false}
end
return answer
