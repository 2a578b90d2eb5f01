package redis

import (
	"context"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
)

// AcquireMany implements [backends.BatchLeaser] by pipelines.
func (s *Store) AcquireMany(ctx context.Context, keys []string, hold time.Duration) []backends.LeaseResult {
	out := make([]backends.LeaseResult, len(keys))
	leases := make([]*lease, len(keys))
	b := s.batch(ctx, len(keys))
	for i, k := range keys {
		err := checkHold(ctx, k, hold)
		if err == nil {
			err = s.fillable(k)
		}
		if err != nil {
			out[i].Err = err
			continue
		}
		leases[i] = s.lease(k)
		b.command(i, 0, s.acquire(leases[i], hold))
		b.last().text = scriptAcquire.source
		b.last().other = call("eval", scriptAcquire.source, s.keys(k), []any{leases[i].token, millis(hold)})
	}
	if b.exec() {
		s.noNXGet.Store(true)
	}
	for _, c := range b.cmds {
		r, l := &out[c.entry], leases[c.entry]
		if err := c.cmd.Err(); err != nil && s.unscripted(err) {
			r.Lease, r.Item, r.Err = l.acquireUnscripted(ctx, hold)
			continue
		}
		r.Lease, r.Item, r.Err = l.acquired(ctx, c.cmd)
	}
	return out
}

// FillMany implements [backends.BatchLeaser] by pipelines.
func (s *Store) FillMany(ctx context.Context, leases []backends.Lease, items []backends.Item) []error {
	b := s.batch(ctx, len(leases))
	native := s.ifEqual.Load() == known
	for i, bl := range leases {
		l, ok := bl.(*lease)
		if !ok || l.s != s || i >= len(items) {
			b.errs[i] = backends.ErrBadToken
			continue
		}
		if err := l.take(ctx, items[i]); err != nil {
			b.errs[i] = err
			continue
		}
		sc, keys, args := l.fill(items[i])
		b.script(i, len(items[i].Value), sc, keys, args...)
		if native && l.plain() {
			c := b.last()
			c.other = call("eval", sc.source, keys, args)
			c.cmd = goredis.NewCmd(ctx, l.fillIfEqual(items[i])...)
		}
	}
	b.exec()
	for _, c := range b.cmds {
		read := filled
		if c.cmd.Name() == "set" {
			read = filledIfEqual
		}
		l := leases[c.entry].(*lease)
		if s.unscripted(c.cmd.Err()) {
			b.errs[c.entry] = l.settle(l.fillWatched(ctx, items[c.entry]))
			continue
		}
		b.errs[c.entry] = l.settle(read(ctx, c.cmd))
	}
	return someErrors(b.errs)
}

// ReleaseMany implements [backends.BatchLeaser] by pipelines.
func (s *Store) ReleaseMany(ctx context.Context, leases []backends.Lease) []error {
	b := s.batch(ctx, len(leases))
	for i, bl := range leases {
		l, ok := bl.(*lease)
		if !ok || l.s != s {
			b.errs[i] = backends.ErrBadToken
			continue
		}
		if !l.spent.Swap(true) {
			b.script(i, 0, scriptRelease, []string{l.at}, l.token)
		}
	}
	b.exec()
	for _, c := range b.cmds {
		l := leases[c.entry].(*lease)
		if s.unscripted(c.cmd.Err()) {
			b.errs[c.entry] = l.released(l.releaseWatched(ctx))
			continue
		}
		b.errs[c.entry] = l.released(failure(ctx, c.cmd.Err()))
	}
	return someErrors(b.errs)
}
