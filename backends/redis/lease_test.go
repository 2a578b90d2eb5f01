package redis

import (
	"context"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

// slowLoader is the history that a lease must survive: one caller of this process leases the
// key and loads v1; the key is deleted; another caller of the same process leases it and loads
// v2; only then does the first one fill.
func slowLoader(t *testing.T, s *Store) (first, second error) {
	t.Helper()
	acquire := func() backends.Lease {
		l, _, err := s.Acquire(t.Context(), "k", time.Minute)
		if err != nil {
			t.Fatalf("acquire: %v", err)
		}
		return l
	}
	one := acquire()
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatalf("delete: %v", err)
	}
	two := acquire()
	first = one.Fill(t.Context(), text("v1"))
	second = two.Fill(t.Context(), text("v2"))
	return first, second
}

func TestLease_FillOfAnEarlierHolderInTheSameProcessIsRefused(t *testing.T) {
	t.Parallel()
	addr := server(t)
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			s := open(t, addr, m.cfg)
			do(t, s, "flushall")
			first, second := slowLoader(t, s)
			wantErr(t, first, backends.ErrLeaseLost, "the first holder's fill")
			wantErr(t, second, nil, "the second holder's fill")
			holds(t, s, "k", "v2")
		})
	}
}

func TestLease_OneTokenPerClientWouldKeepTheOldValue(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	mine := wire.NewLease()
	s.newLease = func() []byte { return mine }
	first, second := slowLoader(t, s)
	if first != nil || second == nil {
		t.Fatalf("fills: %v, %v; this history no longer shows the bug", first, second)
	}
	holds(t, s, "k", "v1")
}

func TestSeparate_OtherClientsNeverSeeAPlaceholder(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{LeaseKey: Separate})
	l, _, err := s.Acquire(t.Context(), "k", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if v := do(t, s, "get", "k"); v != nil {
		t.Fatalf("another client sees %q", v)
	}
	_, err = s.Get(t.Context(), "k")
	wantErr(t, err, backends.ErrLeased, "read of a leased key")

	t.Run("a value they write wins over the fill", func(t *testing.T) {
		do(t, s, "set", "k", "theirs")
		holds(t, s, "k", "theirs")
		wantErr(t, l.Fill(t.Context(), text("ours")), backends.ErrLeaseLost, "fill")
		holds(t, s, "k", "theirs")
	})
	t.Run("a delete of both keys takes the lease", func(t *testing.T) {
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		l, _, err := s.Acquire(t.Context(), "k", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		do(t, s, "del", "k", SideKey("k"))
		wantErr(t, l.Fill(t.Context(), text("old")), backends.ErrLeaseLost, "fill")
	})
	t.Run("a tombstone is invisible too", func(t *testing.T) {
		set(t, s, "k", "v")
		if err := s.DeleteHold(t.Context(), "k", time.Minute, 0); err != nil {
			t.Fatal(err)
		}
		if v := do(t, s, "get", "k"); v != nil {
			t.Fatalf("another client sees %q", v)
		}
		_, err := s.Get(t.Context(), "k")
		wantErr(t, err, backends.ErrHeldOff, "read of a key that is held off")
	})
}

func TestAcquire_FallsBackWhereTheServerRefusesNXWithGET(t *testing.T) {
	t.Parallel()
	s := openWith(t, Options(server(t)), Config{})
	s.client.AddHook(processHook{func(next goredis.ProcessHook) goredis.ProcessHook {
		return func(ctx context.Context, cmd goredis.Cmder) error {
			if a := cmd.Args(); cmd.Name() == "set" && len(a) > 4 && a[3] == "nx" && a[4] == "get" {
				cmd.SetErr(reply("ERR syntax error")) // what Redis 6 answers
				return cmd.Err()
			}
			return next(ctx, cmd)
		}
	}})
	if w := s.Warnings(); len(w) != 0 {
		t.Fatalf("warnings before anything was sent: %q", w)
	}
	l, _, err := s.Acquire(t.Context(), "k", time.Minute)
	if err != nil || l == nil {
		t.Fatalf("acquire: %v", err)
	}
	_, _, err = s.Acquire(t.Context(), "k", time.Minute)
	wantErr(t, err, backends.ErrLeased, "second acquire")
	wantErr(t, l.Fill(t.Context(), text("v")), nil, "fill")
	_, it, err := s.Acquire(t.Context(), "k", time.Minute)
	if err != nil || string(it.Value) != "v" {
		t.Fatalf("acquire of a filled key: %q, %v", it.Value, err)
	}
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "7.0") {
		t.Fatalf("warnings: %q, want the reason", w)
	}
}

// ifEqual gives a server SET IFEQ, by a script of its own.
func ifEqual(asked *int) processHook {
	return processHook{func(next goredis.ProcessHook) goredis.ProcessHook {
		return func(ctx context.Context, cmd goredis.Cmder) error {
			a := cmd.Args()
			if cmd.Name() != "set" || len(a) < 5 || a[3] != "ifeq" {
				return next(ctx, cmd)
			}
			*asked++
			args := []any{"eval", `
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return false end
return redis.call('SET', KEYS[1], ARGV[1], unpack(ARGV, 3))`, 1, a[1], a[2], a[4]}
			run := goredis.NewCmd(ctx, append(args, a[5:]...)...)
			err := next(ctx, run)
			cmd.(once).SetVal(run.Val())
			cmd.SetErr(err)
			return err
		}
	}}
}

func TestFill_UsesSetIfEqualWhereTheServerHasIt(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	asked := 0
	s.client.AddHook(ifEqual(&asked))
	lease := func() backends.Lease {
		l, _, err := s.Acquire(t.Context(), "k", time.Minute)
		if err != nil || l == nil {
			t.Fatalf("acquire: %v", err)
		}
		return l
	}
	l := lease()
	wantErr(t, l.Fill(t.Context(), backends.Item{Value: []byte("v"), TTL: time.Minute}), nil, "fill")
	wantErr(t, l.Fill(t.Context(), text("w")), backends.ErrLeaseLost, "second fill of one lease")
	it, err := s.GetTTL(t.Context(), "k")
	if err != nil || string(it.Value) != "v" || it.TTL <= 0 {
		t.Fatalf("got %q for %v, %v", it.Value, it.TTL, err)
	}
	wantErr(t, s.Delete(t.Context(), "k"), nil, "delete")
	l = lease()
	wantErr(t, s.Delete(t.Context(), "k"), nil, "delete")
	wantErr(t, l.Fill(t.Context(), text("old")), backends.ErrLeaseLost, "fill of a lease that a delete took")
	do(t, s, "rpush", "k", "x")
	do(t, s, "del", "k")
	l = lease()
	do(t, s, "del", "k")
	do(t, s, "rpush", "k", "x")
	wantErr(t, l.Fill(t.Context(), text("v")), backends.ErrLeaseLost, "fill over another type")
	if asked != 3 || s.ifEqual.Load() != known {
		t.Fatalf("SET IFEQ was sent %d times, want 3", asked)
	}
}

func TestFill_AsksForSetIfEqualOnlyOnce(t *testing.T) {
	t.Parallel()
	s, p := tapOn(t, server(t), Config{}, -1) // 7.0: refuses it
	for i, key := range []string{"first", "second", "third"} {
		l, _, err := s.Acquire(t.Context(), key, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		n := p.trips(func() { wantErr(t, l.Fill(t.Context(), text("v")), nil, "fill") })
		if want := [...]int64{3, 1, 1}[i]; n != want { // SET IFEQ, EVALSHA, EVAL; then EVALSHA
			t.Errorf("%s fill: %d round trips, want %d", key, n, want)
		}
	}
}

func TestFillMany_UsesSetIfEqualOnceItIsKnown(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	s.ifEqual.Store(known) // wrongly: the batch must notice
	res := s.AcquireMany(t.Context(), []string{"a", "b"}, time.Minute)
	errs := s.FillMany(t.Context(), []backends.Lease{res[0].Lease, res[1].Lease}, []backends.Item{text("1"), text("2")})
	if errs != nil {
		t.Fatalf("fill: %v", errs)
	}
	holds(t, s, "a", "1")
	holds(t, s, "b", "2")
}

func TestRefresh_FillNeedsTheRightAndTheValueItRead(t *testing.T) {
	t.Parallel()
	addr := server(t)
	for _, m := range modes {
		for _, size := range []int{10, hashAbove + 1} {
			s := open(t, addr, m.cfg)
			do(t, s, "flushall")
			old := strings.Repeat("o", size)
			set(t, s, "k", old)
			tok := get(t, s, "k").Token
			l, err := s.AcquireRefresh(t.Context(), "k", tok, time.Minute)
			wantErr(t, err, nil, "acquire")
			_, err = s.AcquireRefresh(t.Context(), "k", tok, time.Minute)
			wantErr(t, err, backends.ErrLeased, "second acquire")
			holds(t, s, "k", old)
			wantErr(t, l.Fill(t.Context(), text("new")), nil, "fill")
			holds(t, s, "k", "new")

			l, err = s.AcquireRefresh(t.Context(), "k", get(t, s, "k").Token, time.Minute)
			wantErr(t, err, nil, "the right is free again after the fill")
			set(t, s, "k", "other")
			wantErr(t, l.Fill(t.Context(), text("late")), backends.ErrLeaseLost, "fill after a write")
			holds(t, s, "k", "other")

			l, err = s.AcquireRefresh(t.Context(), "k", get(t, s, "k").Token, time.Minute)
			wantErr(t, err, nil, "the right is free again after a lost fill")
			do(t, s, "del", SideKey("k")) // as if it ran out
			wantErr(t, l.Fill(t.Context(), text("late")), backends.ErrLeaseLost, "fill after the right ran out")
			holds(t, s, "k", "other")
		}
	}
}

func TestRelease_AfterAFailedFillFreesTheKey(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	l, _, err := s.Acquire(t.Context(), "k", time.Minute)
	wantErr(t, err, nil, "acquire")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, l.Fill(ended, text("v")), context.Canceled, "fill")
	wantErr(t, l.Release(t.Context()), nil, "release")
	if v := do(t, s, "exists", "k"); v != int64(0) {
		t.Fatal("the lease is still there")
	}
}
