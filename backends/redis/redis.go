package redis

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"time"
	"unsafe"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

// maxValueBytes is the longest string a Redis server takes (proto-max-bulk-len, 512 MiB).
const maxValueBytes = 512 << 20

// LeaseKey says where leases, tombstones and refresh rights are kept.
type LeaseKey int

const (
	// InData keeps a lease or tombstone under the data key itself: one key, one command, and
	// whatever removes the key removes the lease. Other clients that read the key meanwhile see
	// 12 or 18 bytes that begin with a zero byte. This is the default.
	InData LeaseKey = iota

	// Separate keeps them under a key of their own in the same slot (see [SideKey]), so that
	// clients which know nothing of leases never see one. Reads ask for both keys in one round
	// trip. Such a client that deletes a key to invalidate it has to delete SideKey(key) with
	// it; else a load that is running may still store what it read before.
	Separate
)

// Config are the settings of a [Store]. The zero value is good.
type Config struct {
	// LeaseKey says where leases are kept; the default is [InData]. All processes that share
	// a server use the same.
	LeaseKey LeaseKey
}

// Store is a [backends.Store] on a Redis or Valkey server, with every capability but an
// invalidator. Safe for concurrent use. It does not own the client, unless [OpenStore] made both.
type Store struct {
	client   goredis.UniversalClient
	owns     bool // Close closes client
	multi    bool // one command may name keys of several slots
	scan     scanner
	ping     func(context.Context) error
	warnings []string
	separate bool

	noNXGet   atomic.Bool  // SET NX GET was refused: leases are acquired by script
	ifEqual   atomic.Int32 // whether the server knows SET IFEQ: unasked, known or refused
	noScripts atomic.Bool  // scripts were refused: leases are filled by transactions
	noFillAt  atomic.Int64 // Unix ns at which transactions were refused too; 0 = never
	newLease  func() []byte
	resending bool // tests only: lets the client repeat commands that are not idempotent
}

// What is known of an optional command.
const (
	unasked = iota
	known
	refused
)

var (
	_ backends.Store       = (*Store)(nil)
	_ backends.Batcher     = (*Store)(nil)
	_ backends.CASer       = (*Store)(nil)
	_ backends.BatchLeaser = (*Store)(nil)
	_ backends.Leaser      = (*Store)(nil)
	_ backends.Refresher   = (*Store)(nil)
	_ backends.Fencer      = (*Store)(nil)
	_ backends.Versioner   = (*Store)(nil)
	_ backends.Tombstoner  = (*Store)(nil)
	_ backends.Toucher     = (*Store)(nil)
	_ backends.Incrementer = (*Store)(nil)
	_ backends.TTLer       = (*Store)(nil)
	_ backends.Pinger      = (*Store)(nil)
	_ backends.Scanner     = (*Store)(nil)
	_ backends.Warner      = (*Store)(nil)
	_ backends.Limits      = (*Store)(nil)
)

// New returns a Store on client: a *Client (standalone or found through Sentinel), a
// *ClusterClient, or an *AutoPipeliner of either. Another implementation of UniversalClient
// works as long as it is one of these inside; it gets single-key commands only, and cannot be
// scanned.
//
// A nil client is refused, and so is a *Ring: when one of its servers stops answering it moves
// that server's keys to others and later back, so that a key deleted in between comes back with
// its old value. Nothing is sent; use Ping to learn whether the server answers.
func New(client goredis.UniversalClient, cfg Config) (*Store, error) {
	if v := reflect.ValueOf(client); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, errors.New("redis: nil client")
	}
	if cfg.LeaseKey != InData && cfg.LeaseKey != Separate {
		return nil, fmt.Errorf("redis: unknown LeaseKey %d", cfg.LeaseKey)
	}
	s := &Store{
		client:   client,
		separate: cfg.LeaseKey == Separate,
		newLease: wire.NewLease,
		warnings: Warnings(client),
	}
	s.ping = func(ctx context.Context) error { return client.Ping(ctx).Err() }
	switch c := client.(type) {
	case *goredis.Ring:
		return nil, errors.New("redis: a Ring cannot be a cache that promises to forget: it serves old values of keys that were deleted while one of its servers was away; use a ClusterClient, or one server")
	case *goredis.Client:
		s.multi = true
		s.scan = single{c}
	case *goredis.ClusterClient:
		s.scan = masters{c}
		s.ping = func(ctx context.Context) error { return pingMasters(ctx, c) }
	}
	return s, nil
}

// Limits returns the size of the largest value. Redis keeps no flags. A client with nothing to
// warn of is prompt: it looks at the deadlines of its callers.
func (s *Store) Limits() backends.Caps {
	return backends.Caps{MaxValueBytes: maxValueBytes, Prompt: len(s.warnings) == 0}
}

// Get implements [backends.Store]. The TTL is unknown; see GetTTL.
func (s *Store) Get(ctx context.Context, key string) (backends.Item, error) {
	if err := checkKey(ctx, key); err != nil {
		return backends.Item{}, err
	}
	if s.separate {
		r := s.getPairs(ctx, []string{key}, false)
		return r[0].Item, r[0].Err
	}
	return s.result(ctx, s.client.Get(ctx, key))
}

// Set implements [backends.Store].
func (s *Store) Set(ctx context.Context, key string, it backends.Item) error {
	if err := check(ctx, key, it); err != nil {
		return err
	}
	if s.separate {
		err := s.run(ctx, scriptSet, s.keys(key), it.Value, millis(it.TTL)).Err()
		if err != nil && s.unscripted(err) {
			return s.setUnscripted(ctx, key, it)
		}
		return failure(ctx, err)
	}
	return failure(ctx, s.client.Set(ctx, key, it.Value, round(it.TTL)).Err())
}

// Delete implements [backends.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := checkKey(ctx, key); err != nil {
		return err
	}
	return failure(ctx, s.client.Del(ctx, s.keys(key)...).Err())
}

// Ping asks the server, or every master of a cluster.
func (s *Store) Ping(ctx context.Context) error {
	if err := ended(ctx); err != nil {
		return err
	}
	return failure(ctx, s.ping(ctx))
}

// pingMasters reports every master that does not answer, not just the first.
func pingMasters(ctx context.Context, c *goredis.ClusterClient) error {
	errs := make(chan error, 1024) // a cluster has at most 1000 nodes
	err := c.ForEachMaster(ctx, func(ctx context.Context, m *goredis.Client) error {
		err := m.Ping(ctx).Err()
		if err != nil {
			errs <- fmt.Errorf("%s: %w", m.Options().Addr, err)
		}
		return nil
	})
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

// result turns the answer to a GET into an item.
func (s *Store) result(ctx context.Context, cmd *goredis.StringCmd) (backends.Item, error) {
	v, err := cmd.Result()
	if err != nil {
		return backends.Item{}, failure(ctx, err)
	}
	return item(v)
}

// item makes an item of a stored value. The bytes and the token share the memory of v, which is
// ours alone: the client copied it out of its buffer.
func item(v string) (backends.Item, error) {
	b := []byte{}
	if v != "" {
		b = unsafe.Slice(unsafe.StringData(v), len(v))
	}
	switch wire.KindOf(b) {
	case wire.Lease:
		return backends.Item{}, backends.ErrLeased
	case wire.Tombstone:
		return backends.Item{}, backends.ErrHeldOff
	}
	return backends.Item{Value: b, TTL: backends.TTLUnknown, Token: backends.ValueToken(v)}, nil
}

// keys are what a command or script is given for key: in Separate mode the side key too.
func (s *Store) keys(key string) []string {
	if s.separate {
		return []string{key, SideKey(key)}
	}
	return []string{key}
}

// check refuses what must not reach the server. After it, nothing has been sent yet: an ended
// ctx is a known outcome.
func check(ctx context.Context, key string, it backends.Item) error {
	switch {
	case it.TTL < 0:
		return backends.ErrInvalidTTL
	case len(it.Value) > maxValueBytes:
		return backends.ErrTooLarge
	}
	return checkKey(ctx, key)
}

func checkKey(ctx context.Context, key string) error {
	if key == "" {
		return backends.ErrEmptyKey
	}
	return ended(ctx)
}

// maxTTL keeps sums with the server's clock far from overflow, on any server.
const maxTTL = 100 * 365 * 24 * time.Hour

// round rounds a lifetime up to the server's resolution. Go-redis sends a negative one as "no
// expiry" and -1 ns as "keep", so it must never see one; callers have refused them.
func round(d time.Duration) time.Duration {
	d = min(d, maxTTL)
	return (d + time.Millisecond - 1) / time.Millisecond * time.Millisecond
}

// millis is what round gives, in the server's unit; 0 = no expiry.
func millis(d time.Duration) int64 { return round(d).Milliseconds() }
