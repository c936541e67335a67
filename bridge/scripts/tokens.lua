-- A token bucket that all bridges share.
--
-- KEYS  bucket
-- ARGV  tokens a second, most tokens it holds, tokens wanted (negative: gives back)
-- Returns {tokens granted, ms until there is one more}.
local rate, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(bucket[1]) or burst
local at = tonumber(bucket[2]) or now
tokens = math.min(burst, tokens + math.max(0, now - at) * rate / 1000)
local granted = wanted < 0 and wanted or math.min(wanted, math.floor(tokens))
tokens = math.min(burst, tokens - granted)
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.3f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 60000)
local wait = tokens >= 1 and 0 or math.ceil((1 - tokens) * 1000 / rate)
return {granted, wait}
