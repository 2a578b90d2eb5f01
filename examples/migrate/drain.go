package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/fallback"
)

// drain reads through the migration what old has and new lacks, which copies it, while the
// service goes on; afterwards nobody needs old. In production hearth copy --fenced does that, in
// bulk. The zero drain has nothing to do.
type drain struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	err     error // of what has ended
}

// begin starts it. In PhaseNew a read copies before it returns.
func (d *drain) begin(ctx context.Context, m *fallback.Store, s *site) {
	ctx, d.cancel = context.WithCancel(ctx)
	d.running.Go(func() {
		for left := true; left && d.err == nil; { // the service may have used up the budget of copies
			left, d.err = drainOnce(ctx, m, s)
		}
	})
}

// wait returns when new lacks nothing any more, or an error if it could not be done.
func (d *drain) wait() error {
	d.running.Wait()
	return d.err
}

// stop ends it at once.
func (d *drain) stop() {
	if d.cancel != nil {
		d.cancel()
	}
	d.running.Wait()
}

// drainOnce reads each record that old has and new lacks, and reports whether there were any.
func drainOnce(ctx context.Context, m *fallback.Store, s *site) (any bool, err error) {
	list := backends.CapsOf(s.old).Scanner
	if list == nil {
		return false, errors.New("the old store cannot list its keys")
	}
	err = list.Scan(ctx, "", func(keys []string, _ string) error {
		keys = slices.Clone(keys)
		keys = slices.DeleteFunc(keys, func(k string) bool { return !strings.HasPrefix(k, namespace+":") })
		for some := range slices.Chunk(keys, 100) {
			var lacking []string
			for i, r := range backends.GetMany(ctx, s.new, some) {
				if errors.Is(r.Err, backends.ErrMiss) {
					lacking = append(lacking, some[i])
				}
			}
			for _, r := range backends.GetMany(ctx, m, lacking) {
				any = any || r.Err == nil
			}
		}
		return ctx.Err()
	})
	return any, err
}
