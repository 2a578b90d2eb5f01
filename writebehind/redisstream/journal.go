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
	"github.com/hearthcache/hearth/writebehind"
	"github.com/redis/go-redis/v9"
)

const group = "writebehind"

// Config says where the queue is. Client and Name are needed.
type Config struct {
	// Client stays the caller's to close. Its PoolSize has to be larger than Partitions, and
	// ContextTimeoutEnabled set.
	Client redis.UniversalClient
	Name   string // of the queue; the same in all its processes

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

	warnings []string

	unfenced bool // tests set it, to see what the token prevents
}

var _ writebehind.Shared = (*Journal)(nil)

// Open makes the streams where they are missing. Its error says which part of the configuration
// is wrong, which setting of Client would make the queue stand still, that the server would evict
// the queue when its memory is full, or is the server's. How durable the server is, Warnings tells.
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
	if err := checkClient(cfg.Client, cfg.Partitions); err != nil {
		return nil, err
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
	j.warnings = durability(ctx, cfg.Client)
	return j, nil
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

// Close implements writebehind.Journal. The client stays open.
func (j *Journal) Close() error {
	j.closed.Store(true)
	return nil
}
