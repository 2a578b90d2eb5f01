package bulk

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/hearthcache/hearth/internal/wire"
)

const (
	redisScanCount = 1000
	redisMaxValue  = 512 << 20 // proto-max-bulk-len
)

// redisSession is what a worker uses; the client has the connections.
type redisSession struct{ *redisEnd }

func (redisSession) close() {}

// redisEnd is a Redis server or cluster.
type redisEnd struct {
	client redis.UniversalClient
	one    *redis.Client // nil for a cluster
}

func openRedis(scheme, rawURL string, o Options) (endpoint, error) {
	rawURL, cluster := redisURL(scheme, rawURL)
	dial := min(o.Timeout, 3*time.Second)
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if cluster {
		c, err := redis.ParseClusterURL(rawURL)
		if err != nil {
			return nil, err
		}
		c.ContextTimeoutEnabled, c.MaxRetries, c.DialerRetries = true, -1, 1
		c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.PoolTimeout = dial, o.Timeout, o.Timeout, o.Timeout
		c.PoolSize, c.MaintNotificationsConfig = o.Workers+2, quiet
		return &redisEnd{client: redis.NewClusterClient(c)}, nil
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Query().Has("master_name") {
		c, err := redis.ParseFailoverURL(rawURL)
		if err != nil {
			return nil, err
		}
		c.ContextTimeoutEnabled, c.MaxRetries, c.DialerRetries = true, -1, 1
		c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.PoolTimeout = dial, o.Timeout, o.Timeout, o.Timeout
		c.PoolSize = o.Workers + 2
		client := redis.NewFailoverClient(c)
		return &redisEnd{client: client, one: client}, nil
	}
	c, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, err
	}
	c.ContextTimeoutEnabled, c.MaxRetries, c.DialerRetries = true, -1, 1
	c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.PoolTimeout = dial, o.Timeout, o.Timeout, o.Timeout
	c.PoolSize, c.MaintNotificationsConfig = o.Workers+2, quiet
	client := redis.NewClient(c)
	return &redisEnd{client: client, one: client}, nil
}

// redisURL turns redis+cluster://h1,h2 into the form that the client knows, and tells whether the
// URL names a cluster.
func redisURL(scheme, rawURL string) (string, bool) {
	plain, cluster := strings.CutSuffix(scheme, "+cluster")
	if !cluster {
		return rawURL, strings.Contains(rawURL, "?addr=") || strings.Contains(rawURL, "&addr=")
	}
	_, rest, _ := strings.Cut(rawURL, "://")
	head, query, _ := strings.Cut(rest, "?")
	login, hosts := "", head
	if at := strings.LastIndexByte(head, '@'); at >= 0 {
		login, hosts = head[:at+1], head[at+1:]
	}
	list := strings.Split(strings.TrimSuffix(hosts, "/"), ",")
	for _, h := range list[1:] {
		query += "&addr=" + h
	}
	if query = strings.TrimPrefix(query, "&"); query != "" {
		query = "?" + query
	}
	return plain + "://" + login + list[0] + query, true
}

func (e *redisEnd) session() session { return redisSession{e} }
func (e *redisEnd) keepsFlags() bool { return false }

func (e *redisEnd) close() error { return e.client.Close() }

func (e *redisEnd) ping(ctx context.Context) error {
	if e.one != nil {
		return e.one.Ping(ctx).Err()
	}
	return e.client.(*redis.ClusterClient).ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		return c.Ping(ctx).Err()
	})
}

// masters returns the servers that hold keys, in a stable order.
func (e *redisEnd) masters(ctx context.Context) ([]*redis.Client, error) {
	if e.one != nil {
		return []*redis.Client{e.one}, nil
	}
	var mu sync.Mutex
	var all []*redis.Client
	err := e.client.(*redis.ClusterClient).ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, c)
		return nil
	})
	slices.SortFunc(all, func(a, b *redis.Client) int { return strings.Compare(a.Options().Addr, b.Options().Addr) })
	return all, err
}

func (e *redisEnd) estimate(ctx context.Context) int64 {
	n, _ := e.client.DBSize(ctx).Result() // summed over a cluster
	return n
}

// scan implements endpoint. A cursor is "address run-id position": a server that was restarted
// hashes its keys anew, so that a position from before means nothing, and it is listed from the
// beginning.
func (e *redisEnd) scan(ctx context.Context, from string, f *Filter, yield func(batch) error) error {
	servers, err := e.masters(ctx)
	if err != nil {
		return err
	}
	first, pos, err := redisResume(ctx, servers, from)
	if err != nil {
		return err
	}
	for i := first; i < len(servers); i, pos = i+1, 0 {
		c := servers[i]
		id := c.Options().Addr + " " + runID(ctx, c)
		for {
			keys, next, err := c.Scan(ctx, pos, f.pattern(), redisScanCount).Result()
			if err != nil {
				return fmt.Errorf("SCAN on %s: %w", c.Options().Addr, err)
			}
			b := batch{server: i, keys: keys[:0]}
			for _, k := range keys {
				switch {
				case isSideKey(k):
					b.passed.Listed++
					b.passed.Fates[Lease]++
				case f.keeps(k):
					b.keys = append(b.keys, k)
				default:
					b.passed.Listed++
					b.passed.Fates[Filtered]++
				}
			}
			if pos = next; pos != 0 {
				b.next = id + " " + strconv.FormatUint(pos, 10)
			} else if i+1 < len(servers) {
				b.next = servers[i+1].Options().Addr + " ? 0"
			}
			if err := yield(b); err != nil {
				return err
			}
			if pos == 0 {
				break
			}
		}
	}
	return nil
}

func redisResume(ctx context.Context, servers []*redis.Client, from string) (i int, pos uint64, err error) {
	if from == "" {
		return 0, 0, nil
	}
	part := strings.Fields(from)
	if len(part) != 3 {
		return 0, 0, permanent{fmt.Errorf("%q is no place in a list of Redis keys", from)}
	}
	i = slices.IndexFunc(servers, func(c *redis.Client) bool { return c.Options().Addr == part[0] })
	if i < 0 {
		return 0, 0, permanent{fmt.Errorf("the copy cannot go on: %s is no longer a master; start again with a new state file", part[0])}
	}
	if runID(ctx, servers[i]) != part[1] {
		return i, 0, nil
	}
	pos, err = strconv.ParseUint(part[2], 10, 64)
	return i, pos, err
}

// runID names a run of a server; "-" where the server does not say.
func runID(ctx context.Context, c *redis.Client) string {
	text, _ := c.Info(ctx, "server").Result()
	_, rest, ok := strings.Cut(text, "run_id:")
	if id, _, _ := strings.Cut(rest, "\r"); ok && id != "" {
		return id
	}
	return "-"
}

// isSideKey reports whether key was made by redis.SideKey of package backends/redis: a lease or
// a refresh right beside another key.
func isSideKey(key string) bool {
	n := len(key) - 1
	return n > 7 && key[n] >= '0' && key[n] <= '2' && strings.HasSuffix(key[:n], "~hearth")
}

// read implements session. On one server value and lifetime are read in one transaction, so that
// they belong together.
func (e *redisEnd) read(ctx context.Context, server int, recs []*Record) error {
	if len(recs) == 0 {
		return nil
	}
	keys := make([]string, len(recs))
	for i, r := range recs {
		if server >= 0 {
			r.Key = r.Listed
		}
		keys[i] = r.Key
	}
	now := time.Now()
	ttls := make([]*redis.DurationCmd, len(recs))
	if e.one == nil {
		return e.readEach(ctx, keys, recs, now)
	}
	pipe := e.one.TxPipeline()
	values := pipe.MGet(ctx, keys...)
	for i, k := range keys {
		ttls[i] = pipe.PTTL(ctx, k)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for i, r := range recs {
		s, ok := values.Val()[i].(string)
		r.take(s, ok, ttls[i].Val(), now)
	}
	return nil
}

func (e *redisEnd) readEach(ctx context.Context, keys []string, recs []*Record, now time.Time) error {
	values, ttls := make([]*redis.StringCmd, len(recs)), make([]*redis.DurationCmd, len(recs))
	pipe := e.client.Pipeline()
	for i, k := range keys {
		values[i], ttls[i] = pipe.Get(ctx, k), pipe.PTTL(ctx, k)
	}
	_, _ = pipe.Exec(ctx) // every command has its own
	for i, r := range recs {
		s, err := values[i].Result()
		if err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "WRONGTYPE") {
			return err
		}
		if err2 := ttls[i].Err(); err2 != nil {
			return err2
		}
		r.take(s, err == nil, ttls[i].Val(), now)
	}
	return nil
}

// take fills in what Redis answered. PTTL says -2 for no key, -1 for no end.
func (r *Record) take(s string, ok bool, ttl time.Duration, now time.Time) {
	switch {
	case !ok && ttl == -2:
		r.Fate = Expired
		return
	case !ok:
		r.Fate = NotString
		return
	case ttl == -2:
		r.Fate = Expired
		return
	case ttl >= 0:
		r.Deadline = now.Add(ttl)
	}
	r.setValue(unsafe.Slice(unsafe.StringData(s), len(s))) // the string is nobody else's
}

func (r *Record) setValue(v []byte) {
	r.Value = v
	switch wire.KindOf(v) {
	case wire.Lease, wire.Tombstone:
		r.Fate = Lease
	}
}

// storable settles the records that Redis cannot hold or that have ended, and returns the others
// with what is left of their lifetimes.
func (e *redisEnd) storable(recs []*Record) (open []*Record, ttls []time.Duration) {
	now := time.Now()
	for _, r := range recs {
		ttl, alive := r.left(now)
		switch {
		case r.Fate != Pending:
			continue
		case !alive:
			r.Fate = Expired
			continue
		case len(r.Value) > redisMaxValue:
			r.Fate = TooLarge
			continue
		}
		r.lost = r.Flags != 0
		open = append(open, r)
		ttls = append(ttls, (ttl+time.Millisecond-1)/time.Millisecond*time.Millisecond)
	}
	return open, ttls
}

func (e *redisEnd) write(ctx context.Context, recs []*Record, overwrite bool) error {
	open, ttls := e.storable(recs)
	if len(open) == 0 {
		return nil
	}
	pipe := e.client.Pipeline()
	for i, r := range open {
		if overwrite {
			pipe.Set(ctx, r.Key, r.Value, ttls[i])
			continue
		}
		pipe.SetNX(ctx, r.Key, r.Value, ttls[i])
	}
	return settle(ctx, pipe, open, func(i int, cmd redis.Cmder) {
		open[i].Fate = Copied
		if c, ok := cmd.(*redis.BoolCmd); ok && !c.Val() {
			open[i].Fate = Exists
		}
	})
}

func (e *redisEnd) look(ctx context.Context, recs []*Record) error {
	open, _ := e.storable(recs)
	if len(open) == 0 {
		return nil
	}
	pipe := e.client.Pipeline()
	for _, r := range open {
		pipe.Exists(ctx, r.Key)
	}
	return settle(ctx, pipe, open, func(i int, cmd redis.Cmder) {
		open[i].Fate = Copied
		if cmd.(*redis.IntCmd).Val() > 0 {
			open[i].Fate = Exists
		}
	})
}

func (e *redisEnd) claim(ctx context.Context, recs []*Record, hold time.Duration) error {
	open := pending(recs)
	if len(open) == 0 {
		return nil
	}
	pipe := e.client.Pipeline()
	for _, r := range open {
		r.token = wire.NewLease()
		pipe.SetNX(ctx, r.Key, r.token, hold)
	}
	return settle(ctx, pipe, open, func(i int, cmd redis.Cmder) {
		if !cmd.(*redis.BoolCmd).Val() {
			open[i].Fate = Exists
		}
	})
}

const (
	fillSource = `if redis.call('GET',KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then redis.call('SET',KEYS[1],ARGV[2]) else redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) end
return 1`
	releaseSource = `if redis.call('GET',KEYS[1]) == ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0`
)

var fillHash, releaseHash = redis.NewScript(fillSource).Hash(), redis.NewScript(releaseSource).Hash()

func (e *redisEnd) fill(ctx context.Context, recs []*Record) error {
	open, ttls := e.storable(recs)
	if len(open) == 0 {
		return nil
	}
	if err := e.loadScripts(ctx); err != nil {
		return err
	}
	pipe := e.client.Pipeline()
	for i, r := range open {
		pipe.EvalSha(ctx, fillHash, []string{r.Key}, r.token, r.Value, ttls[i].Milliseconds())
	}
	return settle(ctx, pipe, open, func(i int, cmd redis.Cmder) {
		open[i].Fate = Copied
		if n, _ := cmd.(*redis.Cmd).Int(); n == 0 {
			open[i].Fate = Changed
		}
	})
}

func (e *redisEnd) release(ctx context.Context, recs []*Record) error {
	if len(recs) == 0 {
		return nil
	}
	if err := e.loadScripts(ctx); err != nil {
		return err
	}
	pipe := e.client.Pipeline()
	for _, r := range recs {
		pipe.EvalSha(ctx, releaseHash, []string{r.Key}, r.token)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// loadScripts makes sure that every master knows the scripts: it costs one round trip a batch,
// and a restarted server has forgotten them.
func (e *redisEnd) loadScripts(ctx context.Context) error {
	load := func(ctx context.Context, c *redis.Client) error {
		pipe := c.Pipeline()
		pipe.ScriptLoad(ctx, fillSource)
		pipe.ScriptLoad(ctx, releaseSource)
		_, err := pipe.Exec(ctx)
		return err
	}
	if e.one != nil {
		return load(ctx, e.one)
	}
	return e.client.(*redis.ClusterClient).ForEachMaster(ctx, load)
}

// settle runs a pipeline with one command per record. What a server says about one key is that
// record's failure; what it says about itself, or not at all, is the batch's.
func settle(ctx context.Context, pipe redis.Pipeliner, recs []*Record, done func(i int, cmd redis.Cmder)) error {
	cmds, err := pipe.Exec(ctx)
	if len(cmds) != len(recs) {
		return err
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !ofKey(err) {
			return err
		}
	}
	for i, cmd := range cmds {
		if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
			recs[i].fail(err)
			continue
		}
		done(i, cmd)
	}
	return nil
}

// ofKey reports whether err is an answer that concerns one command alone.
func ofKey(err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return false
	}
	for _, state := range []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "NOAUTH", "BUSY", "NOSCRIPT", "EXECABORT"} {
		if redis.HasErrorPrefix(err, state) {
			return false
		}
	}
	return true
}
