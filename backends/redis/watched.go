package redis

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
)

// Where a server refuses scripts, by an ACL or because it is a proxy, leases are filled and
// released by transactions that watch the key: several round trips instead of one. Where those
// are refused too no lease is taken, since nobody could fill or release it and readers would
// wait for it in vain.

// noFillFor is how long no lease is asked for after fills were refused.
const noFillFor = 30 * time.Second

// unscripted reports whether err says that the server runs no scripts for us, and remembers it.
// A server that ran one is remembered as well.
func (s *Store) unscripted(err error) bool {
	if err == nil {
		if s.noScripts.Load() {
			s.noScripts.Store(false)
			s.noFillAt.Store(0)
		}
		return false
	}
	if !isForbidden(err) || !strings.Contains(strings.ToLower(err.Error()), "eval") {
		return false
	}
	s.noScripts.Store(true)
	return true
}

// isForbidden reports whether the server does not take the command: from us, or from anybody.
func isForbidden(err error) bool {
	return err != nil && (goredis.HasErrorPrefix(err, "NOPERM") || strings.Contains(err.Error(), "unknown command"))
}

// fillable returns why no lease should be taken.
func (s *Store) fillable(key string) error {
	at := s.noFillAt.Load()
	if at == 0 || time.Since(time.Unix(0, at)) > noFillFor {
		return nil
	}
	return fmt.Errorf("%w: a lease on %q: the server refuses scripts and transactions", backends.ErrUnsupported, key)
}

// acquireUnscripted is Acquire with a side key and without a script: the lease is put there, and
// given back if the key turns out to have a value. Whatever deletes or writes the key between the
// two takes the lease with it.
func (l *lease) acquireUnscripted(ctx context.Context, hold time.Duration) (backends.Lease, backends.Item, error) {
	unsupported := func(what string) error {
		return fmt.Errorf("%w: a lease on %q: the server refuses scripts, and %s", backends.ErrUnsupported, l.key, what)
	}
	if !l.s.separate {
		return nil, backends.Item{}, unsupported("SET with NX and GET")
	}
	mark, err := l.s.send(ctx, "set", l.at, l.token, "nx", "get", "px", millis(hold)).Text()
	granted := errors.Is(err, goredis.Nil)
	switch {
	case isSyntax(err):
		return nil, backends.Item{}, unsupported("SET with NX and GET")
	case err != nil && !granted:
		return nil, backends.Item{}, failure(ctx, err)
	}
	v, err := l.s.client.Get(ctx, l.key).Result()
	switch {
	case err == nil:
		if granted {
			_ = l.releaseWatched(ctx) // it runs out by itself
		}
		it, err := item(v)
		return nil, it, err
	case !errors.Is(err, goredis.Nil):
		return nil, backends.Item{}, failure(ctx, err) // the lease runs out
	case granted:
		return l, backends.Item{}, nil
	}
	if _, err = item(mark); err == nil {
		err = backends.ErrLeased // nobody knows what it is: it runs out or it stays
	}
	return nil, backends.Item{}, err
}

// markUnscripted is mark with a side key and without a script.
func (s *Store) markUnscripted(ctx context.Context, key string, m []byte, hold time.Duration) error {
	_, err := s.client.TxPipelined(ctx, func(p goredis.Pipeliner) error {
		p.Del(ctx, key)
		p.Set(ctx, SideKey(key), m, round(hold))
		return nil
	})
	return failure(ctx, err)
}

// setUnscripted is Set with a side key and without a script.
func (s *Store) setUnscripted(ctx context.Context, key string, it backends.Item) error {
	_, err := s.client.TxPipelined(ctx, func(p goredis.Pipeliner) error {
		p.Set(ctx, key, it.Value, round(it.TTL))
		p.Del(ctx, SideKey(key))
		return nil
	})
	return failure(ctx, err)
}

// setManyUnscripted is setUnscripted for the entries that cs were for. On one server a transaction
// carries as many as fit into a pipeline, and what is said of it is said of all of them.
func (s *Store) setManyUnscripted(ctx context.Context, entries []backends.KeyItem, cs []queued, errs []error) {
	for len(cs) > 0 {
		// The first goes alone: where MULTI is refused too, little was sent behind it.
		e := entries[cs[0].entry]
		err := ended(ctx)
		if err == nil {
			err = s.setUnscripted(ctx, e.Key, e.Item)
		}
		errs[cs[0].entry], cs = err, cs[1:]
		if err != nil && (isForbidden(err) || ended(ctx) != nil) {
			for _, c := range cs {
				errs[c.entry] = err
			}
			return
		}
		if s.multi {
			cs = cs[s.setTogether(ctx, entries, cs, errs):]
		}
	}
}

// setTogether sets the first of cs in one transaction and returns how many.
func (s *Store) setTogether(ctx context.Context, entries []backends.KeyItem, cs []queued, errs []error) int {
	n, bytes := 0, 0
	for n < len(cs) && n < chunkKeys && (n == 0 || bytes+cs[n].bytes <= chunkBytes) {
		bytes += cs[n].bytes
		n++
	}
	if n == 0 {
		return 0
	}
	_, err := s.client.TxPipelined(ctx, func(p goredis.Pipeliner) error {
		for _, c := range cs[:n] {
			e := entries[c.entry]
			p.Set(ctx, e.Key, e.Item.Value, round(e.Item.TTL))
			p.Del(ctx, SideKey(e.Key))
		}
		return nil
	})
	for _, c := range cs[:n] {
		errs[c.entry] = failure(ctx, err)
	}
	return n
}

// fillWatched is Fill without a script.
func (l *lease) fillWatched(ctx context.Context, it backends.Item) error {
	return lost(l.watched(ctx, func(tx *goredis.Tx) (func(goredis.Pipeliner), error) {
		if l.at != l.key {
			cur, err := tx.Get(ctx, l.key).Result()
			gone := errors.Is(err, goredis.Nil)
			switch {
			case err != nil && !gone:
				return nil, err
			case l.refresh && (gone || !l.same(cur)), !l.refresh && !gone:
				return func(p goredis.Pipeliner) { p.Del(ctx, l.at) }, backends.ErrLeaseLost
			}
		}
		return func(p goredis.Pipeliner) {
			p.Set(ctx, l.key, it.Value, round(it.TTL))
			if l.at != l.key {
				p.Del(ctx, l.at)
			}
		}, nil
	}))
}

// releaseWatched is Release without a script.
func (l *lease) releaseWatched(ctx context.Context) error {
	err := l.watched(ctx, func(*goredis.Tx) (func(goredis.Pipeliner), error) {
		return func(p goredis.Pipeliner) { p.Del(ctx, l.at) }, nil
	})
	if errors.Is(err, backends.ErrLeaseLost) {
		return nil
	}
	return err
}

// watched carries out what plan says if the lease still stands, and nothing if it or the value
// changes meanwhile. An error of plan comes back after its commands were carried out.
func (l *lease) watched(ctx context.Context, plan func(tx *goredis.Tx) (func(goredis.Pipeliner), error)) error {
	var verdict error
	keys := []string{l.at}
	if l.at != l.key {
		keys = append(keys, l.key)
	}
	err := l.s.client.Watch(ctx, func(tx *goredis.Tx) error {
		held, err := tx.Get(ctx, l.at).Result()
		if errors.Is(err, goredis.Nil) || err == nil && held != string(l.token) {
			return backends.ErrLeaseLost
		}
		if err != nil {
			return err
		}
		do, err := plan(tx)
		if do == nil {
			return err
		}
		verdict = err
		_, err = tx.TxPipelined(ctx, func(p goredis.Pipeliner) error { do(p); return nil })
		return err
	}, keys...)
	switch {
	case errors.Is(err, backends.ErrLeaseLost):
		return err
	case errors.Is(err, goredis.TxFailedErr):
		return backends.ErrLeaseLost
	case isForbidden(err):
		l.s.noFillAt.Store(time.Now().UnixNano())
	}
	if err != nil {
		return ambiguous(ctx, err)
	}
	return verdict
}

// same reports whether v is the version that a refresh replaces.
func (l *lease) same(v string) bool {
	if l.how == "sha1" {
		sum := sha1.Sum([]byte(v))
		return hex.EncodeToString(sum[:]) == l.want
	}
	return v == l.want
}
