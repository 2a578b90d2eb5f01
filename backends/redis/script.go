package redis

import (
	"context"
	"crypto/sha1"
	"encoding/hex"

	goredis "github.com/redis/go-redis/v9"
)

// script is a Lua script with the name that servers cache it under.
type script struct{ source, sum string }

func newScript(body string) script {
	source := prelude + body
	sum := sha1.Sum([]byte(source))
	return script{source, hex.EncodeToString(sum[:])}
}

// prelude reads the state of a key. Afterwards
//
//	cur   is the value, false if there is none
//	mark  is the lease or tombstone, false if there is none; held tells which, 'L' or 'T'
//	side  is the key the mark is kept under where that is not the data key, else nil
//
// and put stores a value in the place of whatever was there. Only Lua and commands that every
// server and stand-in has are used: no struct library, no functions.
const prelude = `
local key, side = KEYS[1], KEYS[2]
local function kind(v)
  if not v then return '' end
  local a, b = string.byte(v, 1, 2)
  if a == 0 and b == 76 and #v == 18 then return 'L' end
  if a == 0 and b == 84 and #v == 12 then return 'T' end
  return ''
end
local function put(v, ms)
  if ms == '0' then redis.call('SET', key, v) else redis.call('SET', key, v, 'PX', ms) end
  if side then redis.call('DEL', side) end
  return 1
end
local cur, mark, held
local function read()
  cur, mark = redis.call('GET', key), false
  held = kind(cur)
  if held ~= '' then cur, mark = false, cur end
  if side then
    mark = redis.call('GET', side)
    held = kind(mark)
  end
end
local function same(how, want)
  if not cur then return false end
  if how == 'sha1' then return redis.sha1hex(cur) == want end
  return cur == want
end
`

// What scripts answer.
const (
	applied  = 1
	differs  = 0
	absent   = -1
	heldOff  = -2
	occupied = -3
)

var (
	// scriptSet stores ARGV[1] for ARGV[2] ms and forgets the lease beside it.
	scriptSet = newScript(`return put(ARGV[1], ARGV[2])`)

	// scriptMark deletes the value and puts the mark ARGV[1] for ARGV[2] ms beside it.
	scriptMark = newScript(`
redis.call('SET', side, ARGV[1], 'PX', ARGV[2])
redis.call('DEL', key)
return 1`)

	// scriptAcquire leaves what is there and returns it, or puts the lease ARGV[1] for ARGV[2]
	// ms and returns nothing.
	scriptAcquire = newScript(`
read()
if cur then return cur end
if held ~= '' then return mark end
redis.call('SET', side or key, ARGV[1], 'PX', ARGV[2])
return false`)

	// scriptFill stores ARGV[2] for ARGV[3] ms if the lease ARGV[1] still stands.
	scriptFill = newScript(`
read()
if mark ~= ARGV[1] then return 0 end
if cur then
  redis.call('DEL', side)
  return 0
end
return put(ARGV[2], ARGV[3])`)

	// scriptRefill is scriptFill for a refresh: the value must be ARGV[4..5] as well.
	scriptRefill = newScript(`
read()
if mark ~= ARGV[1] then return 0 end
if not same(ARGV[4], ARGV[5]) then
  redis.call('DEL', side)
  return 0
end
return put(ARGV[2], ARGV[3])`)

	// scriptRelease removes the mark ARGV[1] if it is there; KEYS[1] is where it is kept.
	scriptRelease = newScript(`
if redis.call('GET', key) ~= ARGV[1] then return 0 end
return redis.call('DEL', key)`)

	// scriptAdd stores ARGV[1] for ARGV[2] ms if there is no value and no tombstone.
	scriptAdd = newScript(`
read()
if cur then return -3 end
if held == 'T' then return -2 end
return put(ARGV[1], ARGV[2])`)

	// scriptSwap stores ARGV[1] for ARGV[2] ms if the value is ARGV[3..4].
	scriptSwap = newScript(`
read()
if not cur then return -1 end
if not same(ARGV[3], ARGV[4]) then return 0 end
return put(ARGV[1], ARGV[2])`)

	// scriptRemove deletes the value if it is ARGV[1..2].
	scriptRemove = newScript(`
read()
if not cur then return -1 end
if not same(ARGV[1], ARGV[2]) then return 0 end
redis.call('DEL', key)
if side then redis.call('DEL', side) end
return 1`)

	// scriptNewer stores ARGV[1] for ARGV[2] ms if its version, given as two halves since a
	// Lua number holds 53 bits, is above that of the value or tombstone.
	scriptNewer = newScript(`
read()
local old = cur or (held == 'T' and mark)
if old then
  local hi, lo = 0, 0
  local a, b = string.byte(old, 1, 2)
  if a == 0 and (b == 70 or b == 84) and #old >= 12 then
    local c, d, e, f, g, h, i, j = string.byte(old, 5, 12)
    hi = ((c * 256 + d) * 256 + e) * 256 + f
    lo = ((g * 256 + h) * 256 + i) * 256 + j
  end
  local newhi, newlo = tonumber(ARGV[3]), tonumber(ARGV[4])
  if newhi < hi or (newhi == hi and newlo <= lo) then return 0 end
end
return put(ARGV[1], ARGV[2])`)

	// scriptCount adds ARGV[1], or starts at ARGV[2] for ARGV[3] ms; nothing if held off. The
	// sum is read back as text: a Lua number would round it above 2^53.
	scriptCount = newScript(`
read()
if cur then
  redis.call('INCRBY', key, ARGV[1])
  return redis.call('GET', key)
end
if held == 'T' then return false end
put(ARGV[2], ARGV[3])
return ARGV[2]`)

	// scriptTouch gives the value ARGV[1] ms to live. 19 bytes tell a mark from a value.
	scriptTouch = newScript(`
local head = redis.call('GETRANGE', key, 0, 18)
if kind(head) ~= '' then return 0 end
if head == '' and redis.call('EXISTS', key) == 0 then return 0 end
if ARGV[1] == '0' then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, ARGV[1]) end
return 1`)
)

// once is a command that the client must not send again when its answer is lost. A client with
// MaxRetries -1 would not; a cluster client resends all others whatever its settings are.
type once struct{ *goredis.Cmd }

// NoRetry implements goredis.Cmder.
func (once) NoRetry() bool { return true }

// Clone implements goredis.Cmder.
func (o once) Clone() goredis.Cmder { return once{o.Cmd.Clone().(*goredis.Cmd)} }

// send sends one command at most once.
func (s *Store) send(ctx context.Context, args ...any) *goredis.Cmd {
	cmd := goredis.NewCmd(ctx, args...)
	_ = s.client.Process(ctx, s.single(cmd)) // cmd has the error, when it is there
	return cmd
}

func (s *Store) single(cmd *goredis.Cmd) goredis.Cmder {
	if s.resending {
		return cmd
	}
	return once{cmd}
}

// run runs a script at most once. A server that does not have it says so without doing
// anything, and is then sent the text.
func (s *Store) run(ctx context.Context, sc script, keys []string, args ...any) *goredis.Cmd {
	cmd := s.send(ctx, call("evalsha", sc.sum, keys, args)...)
	if !isNoScript(cmd.Err()) {
		return cmd
	}
	return s.send(ctx, call("eval", sc.source, keys, args)...)
}

// call makes the arguments of EVALSHA or EVAL.
func call(name, text string, keys []string, args []any) []any {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, name, text, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	return append(all, args...)
}

// decide runs a script that answers with one of the codes above. A failure is definite or
// ErrUnknown.
func (s *Store) decide(ctx context.Context, sc script, keys []string, args ...any) (int64, error) {
	code, err := s.run(ctx, sc, keys, args...).Int64()
	return code, ambiguous(ctx, err)
}
