package redisstream

import "github.com/redis/go-redis/v9"

// commit does everything of one Tx at once. KEYS: dead letters, their index by record, the
// newest dead state by key; then the streams, then the owners. ARGV: group, token, most records
// in a stream, then the steps: A(dd), P(ark), R(edrive), D(elete), each with its operands.
// Records are parked or settled only for the owner of the partition; a dead letter may be
// deleted by anybody.
const commitText = `
local dead, index, newest = KEYS[1], KEYS[2], KEYS[3]
local parts = (#KEYS - 3) / 2
local group, token, max = ARGV[1], ARGV[2], tonumber(ARGV[3])
local function older(a, b)
  local am, an = string.match(a, '(%d+)-(%d+)')
  local bm, bn = string.match(b, '(%d+)-(%d+)')
  am, bm = tonumber(am), tonumber(bm)
  if am ~= bm then return am < bm end
  return tonumber(an) < tonumber(bn)
end
local buried, dead_states = redis.call('HLEN', index) > 0, redis.call('HLEN', newest) > 0
local function unbury(p, id, key)
  if not buried then return false end
  local at = redis.call('HGET', index, p .. '/' .. id)
  if not at then return false end
  redis.call('XDEL', dead, at)
  redis.call('HDEL', index, p .. '/' .. id)
  if redis.call('HGET', newest, key) == id then redis.call('HDEL', newest, key) end
  return true
end
local function void(p, id, key)
  if not dead_states then return end
  local old = redis.call('HGET', newest, key)
  if old and older(old, id) then unbury(p, old, key) end
end
local owned = {}
local function mine(p)
  if owned[p] == nil then owned[p] = token == '' or redis.call('GET', KEYS[3 + parts + p]) == token end
  return owned[p]
end
local gone = {}
local function settle()
  for p, ids in pairs(gone) do
    for from = 1, #ids, 1000 do
      local to = math.min(from + 999, #ids)
      redis.call('XACK', KEYS[3 + p], group, unpack(ids, from, to))
      redis.call('XDEL', KEYS[3 + p], unpack(ids, from, to))
    end
  end
end

local adds, i = {}, 4
while i <= #ARGV do
  if ARGV[i] == 'A' then
    local p = tonumber(ARGV[i + 1])
    adds[p] = (adds[p] or 0) + 1
    i = i + 5
  elseif ARGV[i] == 'D' then i = i + 5
  else i = i + 6 end
end
for p, n in pairs(adds) do
  if redis.call('XLEN', KEYS[3 + p]) + n > max then return redis.error_reply('FULL partition ' .. p) end
end

local out = {}
i = 4
while i <= #ARGV do
  local op, p = ARGV[i], tonumber(ARGV[i + 1])
  local stream = KEYS[3 + p]
  if op == 'A' then
    out[#out + 1] = redis.call('XADD', stream, '*', 'k', ARGV[i + 2], 's', ARGV[i + 3], 'r', ARGV[i + 4])
    i = i + 5
  elseif op == 'D' then
    local id, key = ARGV[i + 2], ARGV[i + 3]
    if not unbury(p, id, key) and mine(p) then
      gone[p] = gone[p] or {}
      table.insert(gone[p], id)
      if ARGV[i + 4] == '1' then void(p, id, key) end
    end
    i = i + 5
  else
    local id, key, state, rec = ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
    if op == 'P' then
      if mine(p) and redis.call('XDEL', stream, id) == 1 then
        redis.call('XACK', stream, group, id)
        if state == '1' then void(p, id, key) end
        local at = redis.call('XADD', dead, '*', 'p', p, 'i', id, 'r', rec)
        redis.call('HSET', index, p .. '/' .. id, at)
        buried = true
        if state == '1' then
          redis.call('HSET', newest, key, id)
          dead_states = true
        end
      end
      out[#out + 1] = id
    else
      local now = id
      if unbury(p, id, key) then
        local newer = false
        if state == '1' then
          for _, e in ipairs(redis.call('XRANGE', stream, '(' .. id, '+')) do
            if e[2][2] == key and e[2][4] == '1' then newer = true end
          end
        end
        if not newer then now = redis.call('XADD', stream, '*', 'k', key, 's', state, 'r', rec) end
      end
      out[#out + 1] = now
    end
    i = i + 6
  end
end
settle()
return out
`

var commit = redis.NewScript(commitText)
