-- What the group has given to a consumer, without counting it again: after a lost connection, some of it did not come;
-- and what nobody renews was given to another one of its name, which has gone.
--
-- KEYS  stream
-- ARGV  group, consumer, id behind which to begin or -, most, ms for which nobody has renewed it
-- Returns {id, deliveries so far, fields or nothing}...
local answer = {}
for i, each in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[5], ARGV[3], '+', ARGV[4], ARGV[2])) do
  local entry = redis.call('XRANGE', KEYS[1], each[1], each[1])[1]
  answer[i] = {each[1], each[4], entry and entry[2] or false}
end
return answer
