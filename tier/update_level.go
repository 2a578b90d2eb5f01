package tier

import (
	"context"

	"github.com/hearthcache/hearth/backends"
)

// The comparing writes of a level. None of them is ever sent twice.

func (l *level) add(ctx context.Context, key string, it backends.Item) error {
	k := l.key(key)
	return l.wrapAny("update", key, l.do(ctx, func(ctx context.Context) error { return l.caps.CASer.Add(ctx, k, it) }))
}

func (l *level) compareAndSwap(ctx context.Context, key string, tok backends.Token, it backends.Item) error {
	k := l.key(key)
	return l.wrapAny("update", key, l.do(ctx, func(ctx context.Context) error {
		return l.caps.CASer.CompareAndSwap(ctx, k, tok, it)
	}))
}

func (l *level) compareAndDelete(ctx context.Context, key string, tok backends.Token) error {
	k := l.key(key)
	return l.wrapAny("update", key, l.do(ctx, func(ctx context.Context) error {
		return l.caps.CASer.CompareAndDelete(ctx, k, tok)
	}))
}

// fillUnder is fill for a caller who has to know how it ended.
func (l *level) fillUnder(ctx context.Context, key string, lease backends.Lease, it backends.Item) error {
	return l.wrapAny("update", key, l.do(ctx, func(ctx context.Context) error { return lease.Fill(ctx, it) }))
}

// wrapAny is wrap, also for a miss: there it is a reason why something could not be done.
func (l *level) wrapAny(op, key string, err error) error {
	if err == nil {
		return nil
	}
	if !backends.IsAnswer(err) {
		l.count(levelErrors)
	}
	return &backends.Error{Op: op, Store: l.name, Key: key, Err: err}
}
