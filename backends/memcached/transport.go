package memcached

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// transport speaks to one server. Keys are wire keys, records are bytes as the server has them.
// Every method returns once ctx ends, and its error is nil, an answer of package backends
// (ErrMiss, ErrExists for add, ErrConflict for cas, ErrNotNumber), or a failure that names the
// server. Idempotent commands are sent again once if the connection turns out to have died while
// idle; add, cas and count never are: ErrUnknown if their answer was lost, ErrUnavailable if they
// were not sent. Safe for concurrent use.
type transport interface {
	get(ctx context.Context, key string) (record, error)
	// getMany asks for keys and puts what is there into out, which is as long. The error is for
	// all keys that were not found.
	getMany(ctx context.Context, keys []string, out []reply) error
	store(ctx context.Context, v verb, key string, r record, exp int32) error
	remove(ctx context.Context, key string) error
	touch(ctx context.Context, key string, exp int32) error
	count(ctx context.Context, key string, up bool, delta uint64) (uint64, error)
	ping(ctx context.Context) error
	close()
}

// record is what a server keeps under a key.
type record struct {
	value []byte
	flags uint32
	cas   uint64
	ttl   time.Duration // remaining, 0 = no expiry; if timed
	timed bool
}

// reply is what getMany has for one key.
type reply struct {
	record
	found bool
}

type verb uint8

const (
	set verb = iota
	add
	cas // with record.cas
)

// protect turns a panic below fn (a client that trips over a garbled reply) into an error.
func protect(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reply not understood: %v", p)
		}
	}()
	return fn()
}

// quote shortens a line from the network for an error message.
func quote(line []byte) string {
	return strconv.Quote(string(line[:min(len(line), 80)]))
}
