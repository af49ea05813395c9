"""What Valkey or Redis runs for us, each script all or nothing: the machine of `lowproxy.core.account` in Lua.

An account is a hash; the requests under way are another, by id. Sums are whole
numbers below 2**53, which Lua's floats hold exactly. Where a number goes back to
Python it is written with all its digits.
"""

# The fields of an account, in the order in which scripts give them back: the levels of the
# two buckets and when they were right, streams, and the three windows.
FIELDS = ("rl", "ra", "tl", "ta", "st", "dn", "ds", "dr", "mn", "ms", "mr", "cs", "cr")

_COMMON = """
local names = {"rl", "ra", "tl", "ta", "st", "dn", "ds", "dr", "mn", "ms", "mr", "cs", "cr"}
local values = redis.call("HMGET", KEYS[1], unpack(names))
local a = {}
for i, name in ipairs(names) do a[name] = tonumber(values[i] or "") end
for _, name in ipairs({"st", "dn", "ds", "dr", "mn", "ms", "mr", "cs", "cr"}) do
  a[name] = a[name] or 0
end

local function text(n) return n and string.format("%.17g", n) or "" end

local function save()
  local pairs_ = {}
  for _, name in ipairs(names) do
    if a[name] then
      pairs_[#pairs_ + 1] = name
      pairs_[#pairs_ + 1] = text(a[name])
    end
  end
  redis.call("HSET", KEYS[1], unpack(pairs_))
  redis.call("EXPIRE", KEYS[1], 3456000)
end

local function roll(day, month)
  if day > a.dn then a.dn, a.ds, a.dr, a.cs, a.cr = day, 0, 0, 0, 0 end
  if month > a.mn then a.mn, a.ms, a.mr = month, 0, 0 end
end

local function settle(packed, tokens, nano, carbon, never)
  local e = cjson.decode(packed)
  a.st = a.st - e.stream
  if never and a.rl then a.rl = a.rl + 1 end
  if a.tl then a.tl = a.tl - (tokens - e.tokens) end
  if e.day == a.dn then
    a.dr, a.ds = a.dr - e.nano, a.ds + nano
    a.cr, a.cs = a.cr - e.carbon, a.cs + carbon
  end
  if e.month == a.mn then a.mr, a.ms = a.mr - e.nano, a.ms + nano end
end
"""

# KEYS: account, open, alive. ARGV: id, owner, now, day, month, six limits ("" is none), tokens, nano,
# micrograms, whether it is a stream. Gives back 1 or 0, what was taken of the tokens, and the account.
RESERVE = (
    _COMMON
    + """
local id, owner, now = ARGV[1], ARGV[2], tonumber(ARGV[3])
local rpm, tpm, streams = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local daily, monthly, grams = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local tokens, nano, carbon = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])
local stream = tonumber(ARGV[15])
roll(tonumber(ARGV[4]), tonumber(ARGV[5]))

local function level(l, at, limit)
  local v = a[l]
  if not v then v = limit
  elseif v < limit and now > (a[at] or 0) then v = v + (now - a[at]) * limit / 60 end
  v = math.min(v, limit)
  a[l], a[at] = v, math.max(a[at] or 0, now)
  return v
end

local function over(limit, spent, reserved, asked)
  if not limit then return false end
  local taken = spent + reserved
  return not (taken + asked <= limit and (taken < limit or taken == 0))
end

local asked = tpm and math.min(tokens, tpm) or 0
local function refused()
  return (streams and stream == 1 and a.st >= streams)
    or (rpm and level("rl", "ra", rpm) < 1)
    or (tpm and level("tl", "ta", tpm) < asked)
    or over(daily, a.ds, a.dr, nano)
    or over(monthly, a.ms, a.mr, nano)
    or over(grams, a.cs, a.cr, carbon)
end

-- Requests whose process is gone: nobody knows what they took, so the estimate counts as spent.
local function lapse()
  local last = tonumber(redis.call("HGET", KEYS[1], "lapsed") or "") or 0
  if now - last < 1 then return false end
  redis.call("HSET", KEYS[1], "lapsed", text(now))
  local found, alive = false, {}
  local open = redis.call("HGETALL", KEYS[2])
  for i = 1, #open, 2 do
    local e = cjson.decode(open[i + 1])
    if alive[e.owner] == nil then
      local seen = tonumber(redis.call("HGET", KEYS[3], e.owner) or "") or 0
      alive[e.owner] = seen > now
      if seen <= now then redis.call("HDEL", KEYS[3], e.owner) end
    end
    if not alive[e.owner] or e.at < now - 86400 then
      redis.call("HDEL", KEYS[2], open[i])
      settle(open[i + 1], e.tokens, e.nano, e.carbon, false)
      found = true
    end
  end
  return found
end

local no = refused()
if no and lapse() then no = refused() end
if not no then
  if rpm then a.rl = a.rl - 1 end
  if tpm then a.tl = a.tl - asked end
  a.st = a.st + stream
  a.dr, a.mr, a.cr = a.dr + nano, a.mr + nano, a.cr + carbon
  redis.call("HSET", KEYS[2], id, cjson.encode({
    owner = owner, at = now, day = a.dn, month = a.mn, tokens = asked,
    nano = nano, carbon = carbon, stream = stream}))
  redis.call("EXPIRE", KEYS[2], 172800)
end
save()
local out = {no and "0" or "1", text(asked)}
for _, name in ipairs(names) do out[#out + 1] = text(a[name]) end
return out
"""
)

# KEYS: account, open. ARGV: id, tokens, nano, micrograms; "" for tokens: nobody was asked.
SETTLE = (
    _COMMON
    + """
local packed = redis.call("HGET", KEYS[2], ARGV[1])
if not packed then return 0 end
redis.call("HDEL", KEYS[2], ARGV[1])
local tokens = tonumber(ARGV[2])
settle(packed, tokens or 0, tonumber(ARGV[3]), tonumber(ARGV[4]), tokens == nil)
save()
return 1
"""
)

# What was spent while nobody could be asked. KEYS: account, a mark of this charge. ARGV: tokens, nano,
# micrograms, day, month. Sent twice, it counts once.
CHARGE = (
    _COMMON
    + """
if not redis.call("SET", KEYS[2], "1", "NX", "EX", 172800) then return 0 end
roll(tonumber(ARGV[4]), tonumber(ARGV[5]))
if a.tl then a.tl = a.tl - tonumber(ARGV[1]) end
if tonumber(ARGV[4]) == a.dn then
  a.ds, a.cs = a.ds + tonumber(ARGV[2]), a.cs + tonumber(ARGV[3])
end
if tonumber(ARGV[5]) == a.mn then a.ms = a.ms + tonumber(ARGV[2]) end
save()
return 1
"""
)

# An account that is not there begins with what was spent, as the books say. KEYS: account, open.
# ARGV: day, month, nano-units and micrograms of the day, nano-units of the month.
BEGIN = (
    _COMMON
    + """
if redis.call("EXISTS", KEYS[1]) == 1 then return 0 end
roll(tonumber(ARGV[1]), tonumber(ARGV[2]))
a.ds, a.cs, a.ms = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
save()
return 1
"""
)

# An account as it is, and how many requests are under way. KEYS: account, open. ARGV: day, month.
LOOK = (
    _COMMON
    + """
roll(tonumber(ARGV[1]), tonumber(ARGV[2]))
local out = {text(redis.call("HLEN", KEYS[2]))}
for _, name in ipairs(names) do out[#out + 1] = text(a[name]) end
return out
"""
)

# Who rests until when. KEYS: rests. ARGV: who, until when and why, seconds until then.
REST = """
redis.call("HSET", KEYS[1], ARGV[1], ARGV[2])
if redis.call("TTL", KEYS[1]) < tonumber(ARGV[3]) then
  redis.call("EXPIRE", KEYS[1], ARGV[3])
end
return 1
"""

SCRIPTS = (RESERVE, SETTLE, CHARGE, BEGIN, LOOK, REST)
