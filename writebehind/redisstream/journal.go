package redisstream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/redis/go-redis/v9"
)

const group = "writebehind"

// Config says where the queue is. Client and Name are needed.
type Config struct {
	Client redis.UniversalClient // stays the caller's to close
	Name   string                // of the queue; the same in all its processes

	// Partitions is the number of streams. It must be the same in all processes, and stays what
	// it was when the queue was first opened: another number is refused. Zero = 8.
	Partitions int

	// MaxLen is how many records may wait in a partition before new ones are refused with
	// writebehind.ErrFull. Zero = 100,000.
	MaxLen int

	// Lease is how long a dead owner holds up its partitions. Zero = 5 s.
	Lease time.Duration
}

// Journal is a writebehind.Shared in Redis Streams. It is safe for concurrent use.
type Journal struct {
	cfg    Config
	token  string
	closed atomic.Bool

	unfenced bool // tests set it, to see what the token prevents
}

var _ writebehind.Shared = (*Journal)(nil)

// Open makes the streams where they are missing. Its error says which part of the configuration
// is wrong, that the server would evict the queue when its memory is full, or is the server's.
func Open(ctx context.Context, cfg Config) (*Journal, error) {
	if cfg.Client == nil || cfg.Name == "" || strings.ContainsAny(cfg.Name, "{}") {
		return nil, errors.New("writebehind/redisstream: Client is needed, and a Name without braces")
	}
	if cfg.Partitions < 0 || cfg.MaxLen < 0 || cfg.Lease < 0 {
		return nil, errors.New("writebehind/redisstream: Partitions, MaxLen and Lease cannot be negative")
	}
	if cfg.Partitions == 0 {
		cfg.Partitions = 8
	}
	if cfg.MaxLen == 0 {
		cfg.MaxLen = 100_000
	}
	if cfg.Lease == 0 {
		cfg.Lease = 5 * time.Second
	}
	var token [12]byte
	rand.Read(token[:])
	j := &Journal{cfg: cfg, token: hex.EncodeToString(token[:])}
	if err := mayEvict(ctx, cfg.Client); err != nil {
		return nil, err
	}
	if err := j.create(ctx); err != nil {
		return nil, err
	}
	return j, nil
}

// mayEvict is an error where the server says that it evicts keys without a TTL, which is what the
// streams are. Where it does not say, the operator has to know.
func mayEvict(ctx context.Context, client redis.UniversalClient) error {
	info, err := client.Info(ctx, "memory").Result()
	if err != nil {
		return nil
	}
	said := map[string]string{}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		said[name] = value
	}
	if policy := said["maxmemory_policy"]; strings.HasPrefix(policy, "allkeys-") && said["maxmemory"] != "0" {
		return fmt.Errorf("writebehind/redisstream: the server evicts accepted writes when its memory is full (maxmemory-policy %s): use noeviction", policy)
	}
	return nil
}

func (j *Journal) create(ctx context.Context) error {
	n := j.key("partitions")
	if err := j.cfg.Client.SetNX(ctx, n, j.cfg.Partitions, 0).Err(); err != nil {
		return fmt.Errorf("writebehind/redisstream: %w", err)
	}
	have, err := j.cfg.Client.Get(ctx, n).Int()
	if err != nil {
		return fmt.Errorf("writebehind/redisstream: %w", err)
	}
	if have != j.cfg.Partitions {
		return fmt.Errorf("writebehind/redisstream: queue %q has %d partitions, not %d", j.cfg.Name, have, j.cfg.Partitions)
	}
	for p := range j.cfg.Partitions {
		err := j.cfg.Client.XGroupCreateMkStream(ctx, j.stream(p), group, "0").Err()
		if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
			return fmt.Errorf("writebehind/redisstream: %w", err)
		}
	}
	return nil
}

func (j *Journal) key(what string) string { return "{" + j.cfg.Name + "}:" + what }
func (j *Journal) stream(p int) string    { return j.key("stream:" + strconv.Itoa(p)) }
func (j *Journal) owner(p int) string     { return j.key("owner:" + strconv.Itoa(p)) }

func (j *Journal) partition(key string) int {
	return int(xxhash.Sum64String(key) % uint64(j.cfg.Partitions))
}

// A sequence is a stream id in 64 bits: 42 for the milliseconds (until the year 2109), 22 for
// the count within one.
const countBits = 22

func seqOf(id string) (uint64, error) {
	ms, n, _ := strings.Cut(id, "-")
	a, err1 := strconv.ParseUint(ms, 10, 64-countBits)
	b, err2 := strconv.ParseUint(n, 10, countBits)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("writebehind/redisstream: stream id %q: %w", id, err)
	}
	return a<<countBits | b, nil
}

func idOf(seq uint64) string {
	return strconv.FormatUint(seq>>countBits, 10) + "-" + strconv.FormatUint(seq&(1<<countBits-1), 10)
}

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

// Commit implements writebehind.Journal with one script.
func (j *Journal) Commit(ctx context.Context, tx *writebehind.Tx) error {
	if j.closed.Load() {
		return tier.ErrClosed
	}
	if err := ctx.Err(); err != nil || len(tx.Put)+len(tx.Remove) == 0 {
		return err
	}
	keys := []string{j.key("dead"), j.key("dead:index"), j.key("dead:newest")}
	for p := range j.cfg.Partitions {
		keys = append(keys, j.stream(p))
	}
	for p := range j.cfg.Partitions {
		keys = append(keys, j.owner(p))
	}
	token := j.token
	if j.unfenced {
		token = ""
	}
	args := append(make([]any, 0, 3+6*len(tx.Put)+5*len(tx.Remove)), group, token, j.cfg.MaxLen)
	for i := range tx.Put {
		r := &tx.Put[i]
		rec, _ := r.AppendBinary(nil)
		p, state := j.partition(r.Key)+1, flag(r.Kind != writebehind.Delta)
		switch {
		case r.Seq == 0:
			args = append(args, "A", p, r.Key, state, rec)
		case r.Dead != "":
			args = append(args, "P", p, idOf(r.Seq), r.Key, state, rec)
		default:
			args = append(args, "R", p, idOf(r.Seq), r.Key, state, rec)
		}
	}
	for _, ref := range tx.Remove {
		args = append(args, "D", j.partition(ref.Key)+1, idOf(ref.Seq), ref.Key, flag(ref.State))
	}
	ids, err := j.runOnce(ctx, keys, args).StringSlice()
	if err != nil {
		return j.commitError(err)
	}
	if len(ids) != len(tx.Put) {
		return fmt.Errorf("writebehind/redisstream: %d ids for %d records", len(ids), len(tx.Put))
	}
	for i, id := range ids {
		if tx.Put[i].Seq, err = seqOf(id); err != nil {
			return err
		}
	}
	return nil
}

// once is a command that the client must not send again when its answer is lost: its records
// would be there twice, the second time perhaps after newer ones. A client with MaxRetries -1
// would not; a cluster client would whatever its settings are.
type once struct{ *redis.Cmd }

// NoRetry implements redis.Cmder.
func (once) NoRetry() bool { return true }

// Clone implements redis.Cmder.
func (o once) Clone() redis.Cmder { return once{o.Cmd.Clone().(*redis.Cmd)} }

// runOnce runs the commit at most once. A server that does not have it says so without doing
// anything, and is then sent the text.
func (j *Journal) runOnce(ctx context.Context, keys []string, args []any) *redis.Cmd {
	send := func(name, text string) *redis.Cmd {
		all := append(make([]any, 0, 3+len(keys)+len(args)), name, text, len(keys))
		for _, k := range keys {
			all = append(all, k)
		}
		cmd := redis.NewCmd(ctx, append(all, args...)...)
		cmd.SetFirstKeyPos(3)
		_ = j.cfg.Client.Process(ctx, once{cmd}) // cmd has the error, when it is there
		return cmd
	}
	cmd := send("evalsha", commit.Hash())
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		cmd = send("eval", commitText)
	}
	return cmd
}

// commitError tells what the server refused from what it may have done.
func (j *Journal) commitError(err error) error {
	var answer redis.Error
	switch {
	case errors.As(err, &answer) && strings.HasPrefix(answer.Error(), "FULL"):
		return fmt.Errorf("%w: queue %q has %d records in a partition", writebehind.ErrFull, j.cfg.Name, j.cfg.MaxLen)
	case errors.As(err, &answer):
		return fmt.Errorf("writebehind/redisstream: queue %q: %w", j.cfg.Name, err)
	}
	return fmt.Errorf("writebehind/redisstream: queue %q: %w: %w", j.cfg.Name, tier.ErrUnknown, err)
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// page is how many records are asked for at a time: at 1 KiB each, half a megabyte.
const page = 500

// Replay implements writebehind.Journal: what waits, partition by partition, then the dead
// letters.
func (j *Journal) Replay(ctx context.Context, fn func(writebehind.Record) error) error {
	if j.closed.Load() {
		return tier.ErrClosed
	}
	for p := range j.cfg.Partitions {
		if err := j.scan(ctx, j.stream(p), fn); err != nil {
			return err
		}
	}
	return j.scan(ctx, j.key("dead"), fn)
}

func (j *Journal) scan(ctx context.Context, stream string, fn func(writebehind.Record) error) error {
	for from := "-"; ; {
		msgs, err := j.cfg.Client.XRangeN(ctx, stream, from, "+", page).Result()
		if err != nil {
			return fmt.Errorf("writebehind/redisstream: %w", err)
		}
		for _, m := range msgs {
			rec, err := parse(m)
			if err != nil {
				return err
			}
			if err := fn(rec); err != nil {
				return err
			}
			from = "(" + m.ID
		}
		if len(msgs) < page {
			return nil
		}
	}
}

// parse reads an entry of a partition, or of the dead letters, which name the id they had.
func parse(m redis.XMessage) (writebehind.Record, error) {
	var rec writebehind.Record
	raw, _ := m.Values["r"].(string)
	if err := rec.UnmarshalBinary([]byte(raw)); err != nil {
		return rec, fmt.Errorf("writebehind/redisstream: entry %s: %w", m.ID, err)
	}
	id := m.ID
	if was, ok := m.Values["i"].(string); ok {
		id = was
	}
	seq, err := seqOf(id)
	rec.Seq = seq
	return rec, err
}

// Fates implements writebehind.Shared in one round trip.
func (j *Journal) Fates(ctx context.Context, refs []writebehind.Ref) ([]writebehind.Fate, error) {
	if j.closed.Load() {
		return nil, tier.ErrClosed
	}
	waiting := make([]*redis.XMessageSliceCmd, len(refs))
	parked := make([]*redis.BoolCmd, len(refs))
	// A transaction: between the two questions a record could move from the one to the other.
	_, err := j.cfg.Client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, ref := range refs {
			p, id := j.partition(ref.Key), idOf(ref.Seq)
			waiting[i] = pipe.XRange(ctx, j.stream(p), id, id)
			parked[i] = pipe.HExists(ctx, j.key("dead:index"), strconv.Itoa(p+1)+"/"+id)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("writebehind/redisstream: %w", err)
	}
	fates := make([]writebehind.Fate, len(refs))
	for i := range refs {
		switch {
		case len(waiting[i].Val()) > 0:
			fates[i] = writebehind.Waiting
		case parked[i].Val():
			fates[i] = writebehind.Parked
		default:
			fates[i] = writebehind.Settled
		}
	}
	return fates, nil
}

// Close implements writebehind.Journal. The client stays open.
func (j *Journal) Close() error {
	j.closed.Store(true)
	return nil
}
