package redis

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
)

// lease is the right to fill key. It is kept under at: the data key, or a side key.
type lease struct {
	s     *Store
	key   string
	at    string
	token []byte
	spent atomic.Bool

	// A refresh compares the value it replaces as well.
	refresh   bool
	how, want string
}

// Acquire implements [backends.Leaser] in one round trip: SET NX GET, or a script where the
// server does not know that form (Redis before 7.0) and with [Separate].
func (s *Store) Acquire(ctx context.Context, key string, hold time.Duration) (backends.Lease, backends.Item, error) {
	if err := checkHold(ctx, key, hold); err != nil {
		return nil, backends.Item{}, err
	}
	if err := s.fillable(key); err != nil {
		return nil, backends.Item{}, err
	}
	l := s.lease(key)
	if s.separate && s.noScripts.Load() {
		return l.acquireUnscripted(ctx, hold)
	}
	cmd := s.send(ctx, s.acquire(l, hold)...)
	if s.again(cmd.Err()) {
		cmd = s.send(ctx, call("eval", scriptAcquire.source, s.keys(key), []any{l.token, millis(hold)})...)
	}
	if err := cmd.Err(); err != nil && s.unscripted(err) {
		return l.acquireUnscripted(ctx, hold)
	}
	return l.acquired(ctx, cmd)
}

// acquire makes the command that asks for l.
func (s *Store) acquire(l *lease, hold time.Duration) []any {
	if s.separate || s.noNXGet.Load() {
		return call("evalsha", scriptAcquire.sum, s.keys(l.key), []any{l.token, millis(hold)})
	}
	return []any{"set", l.key, l.token, "nx", "get", "px", millis(hold)}
}

// again reports whether an acquire was refused for its form, and remembers why.
func (s *Store) again(err error) bool {
	if isSyntax(err) {
		s.noNXGet.Store(true)
		return true
	}
	return isNoScript(err)
}

// acquired reads the answer to an acquire: nothing means that the lease was granted.
func (l *lease) acquired(ctx context.Context, cmd *goredis.Cmd) (backends.Lease, backends.Item, error) {
	v, err := cmd.Text()
	switch {
	case errors.Is(err, goredis.Nil):
		return l, backends.Item{}, nil
	case err != nil:
		return nil, backends.Item{}, failure(ctx, err)
	}
	it, err := item(v)
	return nil, it, err
}

// Seize implements [backends.Fencer].
func (s *Store) Seize(ctx context.Context, key string, hold time.Duration) (backends.Lease, error) {
	if err := checkHold(ctx, key, hold); err != nil {
		return nil, err
	}
	l := s.lease(key)
	if err := s.mark(ctx, key, l.token, hold); err != nil {
		return nil, err
	}
	return l, nil
}

// mark puts a lease or tombstone over whatever is there.
func (s *Store) mark(ctx context.Context, key string, m []byte, hold time.Duration) error {
	if s.separate {
		err := s.run(ctx, scriptMark, s.keys(key), m, millis(hold)).Err()
		if err != nil && s.unscripted(err) {
			return s.markUnscripted(ctx, key, m, hold)
		}
		return failure(ctx, err)
	}
	return failure(ctx, s.client.Set(ctx, key, m, round(hold)).Err())
}

// AcquireRefresh implements [backends.Refresher]: the right is kept under [SideKey], in one
// round trip. The fill wants that key and the value unchanged.
func (s *Store) AcquireRefresh(ctx context.Context, key string, tok backends.Token, hold time.Duration) (backends.Lease, error) {
	if err := checkHold(ctx, key, hold); err != nil {
		return nil, err
	}
	how, want, err := expect(tok)
	if err != nil {
		return nil, err
	}
	l := s.lease(key)
	l.at, l.refresh, l.how, l.want = SideKey(key), true, how, want
	err = s.send(ctx, "set", l.at, l.token, "nx", "px", millis(hold)).Err()
	switch {
	case errors.Is(err, goredis.Nil):
		return nil, backends.ErrLeased
	case err != nil:
		return nil, failure(ctx, err)
	}
	return l, nil
}

// lease returns a fresh lease on key that nobody has granted yet.
func (s *Store) lease(key string) *lease {
	l := &lease{s: s, key: key, at: key, token: s.newLease()}
	if s.separate {
		l.at = SideKey(key)
	}
	return l
}

// checkHold is check for leases and tombstones, which always end.
func checkHold(ctx context.Context, key string, hold time.Duration) error {
	if hold <= 0 {
		return fmt.Errorf("%w: it must be above zero here", backends.ErrInvalidTTL)
	}
	return checkKey(ctx, key)
}

// Fill implements [backends.Lease] in one round trip.
func (l *lease) Fill(ctx context.Context, it backends.Item) error {
	if err := l.take(ctx, it); err != nil {
		return err
	}
	if l.plain() && l.s.ifEqual.Load() != refused {
		cmd := l.s.send(ctx, l.fillIfEqual(it)...)
		if !isSyntax(cmd.Err()) {
			l.s.know(cmd.Err())
			return l.settle(filledIfEqual(ctx, cmd))
		}
		l.s.ifEqual.Store(refused)
	}
	sc, keys, args := l.fill(it)
	cmd := l.s.run(ctx, sc, keys, args...)
	if l.s.unscripted(cmd.Err()) {
		return l.settle(l.fillWatched(ctx, it))
	}
	return l.settle(filled(ctx, cmd))
}

// Release implements [backends.Lease].
func (l *lease) Release(ctx context.Context) error {
	if l.spent.Swap(true) {
		return nil
	}
	err := l.s.run(ctx, scriptRelease, []string{l.at}, l.token).Err()
	if l.s.unscripted(err) {
		return l.released(l.releaseWatched(ctx))
	}
	return l.released(failure(ctx, err))
}

// released lets a release that failed be tried again.
func (l *lease) released(err error) error {
	if err != nil && !errors.Is(err, backends.ErrWrongType) { // another type: the lease is lost
		l.spent.Store(false)
		return err
	}
	return nil
}

// take spends l for a fill with it.
func (l *lease) take(ctx context.Context, it backends.Item) error {
	if err := check(ctx, l.key, it); err != nil {
		return err
	}
	if l.spent.Swap(true) {
		return backends.ErrLeaseLost
	}
	return nil
}

// settle gives a lease back to its holder whose fill failed, so that it can be released.
func (l *lease) settle(err error) error {
	if err != nil && !errors.Is(err, backends.ErrLeaseLost) {
		l.spent.Store(false)
	}
	return err
}

// plain reports whether the lease is under the data key, so that one comparison decides.
func (l *lease) plain() bool { return !l.refresh && !l.s.separate }

// fillIfEqual makes the command that fills l on servers that can compare by themselves (Redis
// 8.4, Valkey 8.1): no script. It is used for fills only, whose token is short and for which
// "gone" and "changed" are the same answer.
func (l *lease) fillIfEqual(it backends.Item) []any {
	args := []any{"set", l.key, it.Value, "ifeq", l.token}
	if it.TTL > 0 {
		args = append(args, "px", millis(it.TTL))
	}
	return args
}

// know remembers that the server took SET IFEQ.
func (s *Store) know(err error) {
	if err == nil || errors.Is(err, goredis.Nil) {
		s.ifEqual.Store(known)
	}
}

// filledIfEqual reads the answer to fillIfEqual.
func filledIfEqual(ctx context.Context, cmd *goredis.Cmd) error {
	if err := cmd.Err(); !errors.Is(err, goredis.Nil) {
		return lost(ambiguous(ctx, err))
	}
	return backends.ErrLeaseLost
}

// fill makes the script call that fills l.
func (l *lease) fill(it backends.Item) (sc script, keys []string, args []any) {
	args = []any{l.token, it.Value, millis(it.TTL)}
	if l.refresh {
		return scriptRefill, []string{l.key, l.at}, append(args, l.how, l.want)
	}
	return scriptFill, l.s.keys(l.key), args
}

// filled reads the answer to fill.
func filled(ctx context.Context, cmd *goredis.Cmd) error {
	code, err := cmd.Int64()
	if err != nil {
		return lost(ambiguous(ctx, err))
	}
	if code != applied {
		return backends.ErrLeaseLost
	}
	return nil
}

// lost takes another type under the key for what it is: the lease was written over.
func lost(err error) error {
	if errors.Is(err, backends.ErrWrongType) {
		return backends.ErrLeaseLost
	}
	return err
}
