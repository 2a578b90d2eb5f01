package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
)

// mutation is an operation that must not be carried out twice.
type mutation struct {
	name string
	run  func(ctx context.Context, s *Store) error
}

// mutations returns one of each; setup must have run on the key "k" before each.
func mutations() []mutation {
	old := backends.ValueToken("1")
	return []mutation{
		{"Increment", func(ctx context.Context, s *Store) error {
			_, err := s.Increment(ctx, "k", 1, 0, 0)
			return err
		}},
		{"CompareAndSwap", func(ctx context.Context, s *Store) error {
			return s.CompareAndSwap(ctx, "k", old, text("2"))
		}},
		{"CompareAndDelete", func(ctx context.Context, s *Store) error { return s.CompareAndDelete(ctx, "k", old) }},
		{"Add", func(ctx context.Context, s *Store) error { return s.Add(ctx, "absent", text("2")) }},
		{"SetNewer", func(ctx context.Context, s *Store) error { return s.SetNewer(ctx, "absent", text("2")) }},
	}
}

func TestMutations_LostAnswerIsUnknownAndCarriedOutOnce(t *testing.T) {
	t.Parallel()
	addr := server(t)
	for _, m := range modes {
		for _, mu := range mutations() {
			t.Run(m.name+"/"+mu.name, func(t *testing.T) {
				s, p := tapOn(t, addr, m.cfg, 3) // as go-redis does by itself
				do(t, s, "flushall")
				_ = mu.run(t.Context(), s) // the server knows the script now
				do(t, s, "flushall")
				set(t, s, "k", "1")
				p.loseAnswer("evalsha")
				err := mu.run(t.Context(), s)
				wantErr(t, err, backends.ErrUnknown, "lost answer")
				wantErr(t, err, io.ErrUnexpectedEOF, "the cause")
				if n := p.times(); n != 1 {
					t.Fatalf("sent %d times", n)
				}
			})
		}
	}
}

func TestMutations_ResentIncrementWouldCountTwice(t *testing.T) {
	t.Parallel()
	s, p := tapOn(t, server(t), Config{}, 3)
	s.resending = true
	set(t, s, "k", "1")
	_, err := s.Increment(t.Context(), "k", 1, 0, 0)
	wantErr(t, err, nil, "increment")
	p.loseAnswer("evalsha")
	n, err := s.Increment(t.Context(), "k", 1, 0, 0)
	if err != nil || n != 4 {
		t.Fatalf("got %d, %v; a client that resends no longer shows the bug", n, err)
	}
}

func TestFill_LostAnswerIsUnknownAndTheValueIsThere(t *testing.T) {
	t.Parallel()
	addr := server(t)
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			s, p := tapOn(t, addr, m.cfg, 3)
			do(t, s, "flushall")
			l, _, err := s.Acquire(t.Context(), "k", time.Minute)
			wantErr(t, err, nil, "acquire")
			s.ifEqual.Store(refused)
			_ = s.run(t.Context(), scriptFill, s.keys("other"), "", "", 0) // the server knows the script now
			p.loseAnswer("evalsha")
			wantErr(t, l.Fill(t.Context(), text("v")), backends.ErrUnknown, "fill")
			holds(t, s, "k", "v")
			wantErr(t, l.Release(t.Context()), nil, "release")
			holds(t, s, "k", "v")
		})
	}
}

func TestAcquire_LostAnswerIsNotOwned(t *testing.T) {
	t.Parallel()
	s, p := tapOn(t, server(t), Config{}, 3)
	p.loseAnswer("get\r\n$2\r\npx")
	l, _, err := s.Acquire(t.Context(), "k", time.Minute)
	if l != nil || err == nil || backends.IsAnswer(err) {
		t.Fatalf("got lease %v, error %v; want a failure", l, err)
	}
	if n := p.times(); n != 1 {
		t.Fatalf("sent %d times", n)
	}
	_, err = s.Get(t.Context(), "k")
	wantErr(t, err, backends.ErrLeased, "read after the server granted the lost lease")
}

func TestCluster_LostAnswerIsUnknownAndCarriedOutOnce(t *testing.T) {
	t.Parallel()
	for _, resending := range []bool{false, true} {
		t.Run(fmt.Sprintf("resending=%v", resending), func(t *testing.T) {
			p := &tap{}
			o := cluster(t)
			o.Dialer = p.through(&goredis.Options{}).Dialer
			s := openCluster(t, o, Config{})
			s.resending = resending
			key := fmt.Sprint("lost:", resending)
			do(t, s, "del", key)
			_, err := s.Increment(t.Context(), key, 1, 1, 0)
			wantErr(t, err, nil, "first increment")
			p.loseAnswer("evalsha")
			n, err := s.Increment(t.Context(), key, 1, 1, 0)
			if resending { // MaxRetries -1 does not stop a cluster client
				if err != nil || n != 3 {
					t.Fatalf("got %d, %v; a client that resends no longer shows the bug", n, err)
				}
				return
			}
			wantErr(t, err, backends.ErrUnknown, "lost answer")
			holds(t, s, key, "2")
		})
	}
}

func TestFailure_DeadServerWasNotAsked(t *testing.T) {
	t.Parallel()
	s := open(t, "127.0.0.1:1", Config{})
	begun := time.Now()
	_, err := s.Get(t.Context(), "k")
	wantErr(t, err, backends.ErrUnavailable, "get")
	for _, mu := range mutations() {
		err := mu.run(t.Context(), s)
		wantErr(t, err, backends.ErrUnavailable, mu.name)
		if errors.Is(err, backends.ErrUnknown) {
			t.Errorf("%s on a dead server is unknown: %v", mu.name, err)
		}
	}
	wantErr(t, s.Ping(t.Context()), backends.ErrUnavailable, "ping")
	for _, r := range s.GetMany(t.Context(), []string{"a", "b"}) {
		wantErr(t, r.Err, backends.ErrUnavailable, "get many")
	}
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("a dead port cost %v", d)
	}
}

func TestFailure_SlowServerIsADeadlineAndUnknownForWrites(t *testing.T) {
	t.Parallel()
	s, p := tapOn(t, server(t), Config{}, -1)
	set(t, s, "k", "1")
	p.swallow(true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := s.Get(ctx, "k")
	wantErr(t, err, context.DeadlineExceeded, "get")
	if backends.IsAnswer(err) {
		t.Fatalf("a timeout is an answer: %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Increment(short, "k", 1, 0, 0)
	if !errors.Is(err, backends.ErrUnknown) && !errors.Is(err, backends.ErrUnavailable) {
		t.Fatalf("increment: got %v, want unknown (unless a new connection was not up in time)", err)
	}
	wantErr(t, err, context.DeadlineExceeded, "increment")
	err = s.CompareAndSwap(short, "k", backends.ValueToken("1"), text("2"))
	wantErr(t, err, context.DeadlineExceeded, "swap with a ctx that has ended")
	if errors.Is(err, backends.ErrUnknown) {
		t.Fatalf("what was never sent is unknown: %v", err)
	}
}

func TestFailure_ServerThatIsNotReadyIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, why string
		args      []string
		prepare   []any
		run       func(context.Context, *Store) error
	}{
		{"a replica refuses writes", "READONLY", nil, []any{"replicaof", "127.0.0.1", 1},
			func(ctx context.Context, s *Store) error { return s.Set(ctx, "k", text("v")) }},
		{"a replica refuses scripts that write", "READONLY", nil, []any{"replicaof", "127.0.0.1", 1},
			func(ctx context.Context, s *Store) error { return s.Add(ctx, "k", text("v")) }},
		{"a replica without its master refuses reads", "MASTERDOWN", []string{"--replica-serve-stale-data", "no"}, []any{"replicaof", "127.0.0.1", 1},
			func(ctx context.Context, s *Store) error { _, err := s.Get(ctx, "k"); return err }},
		{"a cluster without its slots", "CLUSTERDOWN", []string{"--cluster-enabled", "yes"}, []any{"ping"},
			func(ctx context.Context, s *Store) error { _, err := s.Increment(ctx, "k", 1, 1, 0); return err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			addr, ok := realServer(t, c.args...)
			if !ok {
				return
			}
			s := open(t, addr, Config{})
			do(t, s, c.prepare...)
			err := c.run(t.Context(), s)
			wantErr(t, err, backends.ErrUnavailable, c.name)
			if !strings.Contains(err.Error(), c.why) || errors.Is(err, backends.ErrUnknown) {
				t.Fatalf("got %v, want the reason %s and a known outcome", err, c.why)
			}
		})
	}
}

func TestFailure_EveryRefusalIsSorted(t *testing.T) {
	t.Parallel()
	standIn := mini(t)
	s := open(t, standIn.Addr(), Config{})
	set(t, s, "k", "v")
	for msg, want := range map[string]error{
		"LOADING Redis is loading the dataset in memory":                       backends.ErrUnavailable,
		"READONLY You can't write against a read only replica.":                backends.ErrUnavailable,
		"CLUSTERDOWN The cluster is down":                                      backends.ErrUnavailable,
		"MASTERDOWN Link with MASTER is down":                                  backends.ErrUnavailable,
		"NOAUTH Authentication required.":                                      backends.ErrUnavailable,
		"BUSY Redis is busy running a script.":                                 backends.ErrUnavailable,
		"ERR max number of clients reached":                                    backends.ErrUnavailable,
		"ERR Error running script (call to f_0): @user_script:9: READONLY You": backends.ErrUnavailable,
		"ERR Error running script (call to f_0): @user_script:9: WRONGTYPE Op": backends.ErrWrongType,
		"OOM command not allowed when used memory > 'maxmemory'.":              backends.ErrFull,
		"MISCONF Redis is configured to save RDB snapshots":                    nil,
		"NOPERM User x has no permissions to run the 'evalsha' command":        nil,
	} {
		standIn.SetError(msg)
		_, gerr := s.Get(t.Context(), "k")
		for op, err := range map[string]error{"get": gerr, "add": s.Add(t.Context(), "k", text("w")), "delete": s.Delete(t.Context(), "k")} {
			if err == nil || errors.Is(err, backends.ErrUnknown) || errors.Is(err, backends.ErrMiss) || !strings.Contains(err.Error(), msg) {
				t.Errorf("%s, %s: got %v, want a failure with a known outcome that says so", msg, op, err)
			}
			if is := errors.Is(err, backends.ErrUnavailable); is != (want == backends.ErrUnavailable) {
				t.Errorf("%s, %s: unavailable is %v", msg, op, is)
			}
			if is := errors.Is(err, backends.ErrWrongType); is != (want == backends.ErrWrongType) {
				t.Errorf("%s, %s: wrong type is %v", msg, op, is)
			}
		}
	}
	standIn.SetError("")
	holds(t, s, "k", "v")
}

func TestFailure_LoadingServerIsUnavailable(t *testing.T) {
	t.Parallel()
	addr, ok := realServer(t, "--enable-debug-command", "yes", "--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024")
	if !ok {
		return
	}
	s := open(t, addr, Config{})
	admin := open(t, addr, Config{})
	entries := make([]backends.KeyItem, 300)
	for i := range entries {
		entries[i] = backends.KeyItem{Key: fmt.Sprint(i), Item: text(strings.Repeat("v", 100))}
	}
	if errs := s.SetMany(t.Context(), entries); errs != nil {
		t.Fatal(errs)
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		_ = admin.client.Do(t.Context(), "debug", "reload").Err() // loads for more than half a second
	})
	defer wg.Wait()
	for {
		_, err := s.Get(t.Context(), "1")
		if err != nil && strings.Contains(err.Error(), "LOADING") {
			wantErr(t, err, backends.ErrUnavailable, "get")
			_, err = s.Increment(t.Context(), "n", 1, 1, 0)
			wantErr(t, err, backends.ErrUnavailable, "increment")
			return
		}
		select {
		case <-done:
			t.Fatal("the server never said that it is loading")
		default:
		}
	}
}

func TestFailure_WrongPasswordIsUnavailable(t *testing.T) {
	t.Parallel()
	addr := server(t, "--requirepass", "right")
	for _, password := range []string{"", "wrong"} {
		o := patient(addr)
		o.Password = password
		s := openWith(t, o, Config{})
		_, err := s.Get(t.Context(), "k")
		wantErr(t, err, backends.ErrUnavailable, "get with password "+password)
		wantErr(t, s.Add(t.Context(), "k", text("v")), backends.ErrUnavailable, "add")
		wantErr(t, s.Ping(t.Context()), backends.ErrUnavailable, "ping")
	}
}

func TestFailure_FullServerRefusesWritesAndAnswersReads(t *testing.T) {
	t.Parallel()
	addr, ok := realServer(t, "--maxmemory-policy", "noeviction")
	if !ok {
		return
	}
	s := open(t, addr, Config{})
	set(t, s, "k", "v")
	do(t, s, "config", "set", "maxmemory", 1)
	for name, run := range map[string]func() error{
		"set":  func() error { return s.Set(t.Context(), "k", text("w")) },
		"add":  func() error { return s.Add(t.Context(), "l", text("w")) },
		"swap": func() error { return s.CompareAndSwap(t.Context(), "k", backends.ValueToken("v"), text("w")) },
	} {
		err := run()
		if err == nil || !strings.Contains(err.Error(), "OOM") || backends.IsAnswer(err) || errors.Is(err, backends.ErrUnknown) || errors.Is(err, backends.ErrUnavailable) {
			t.Errorf("%s: got %v, want a plain failure that says OOM", name, err)
		}
	}
	holds(t, s, "k", "v")
	wantErr(t, s.Delete(t.Context(), "k"), nil, "delete")
}

func TestFailure_OtherTypeIsNeitherReadNorTouched(t *testing.T) {
	t.Parallel()
	addr := server(t)
	for _, m := range modes {
		s := open(t, addr, m.cfg)
		do(t, s, "flushall")
		do(t, s, "rpush", "k", "x")
		ctx, tok := t.Context(), backends.ValueToken("x")
		_, err := s.Get(ctx, "k")
		wantErr(t, err, backends.ErrWrongType, "get")
		_, err = s.GetTTL(ctx, "k")
		wantErr(t, err, backends.ErrWrongType, "get with TTL")
		wantErr(t, s.Add(ctx, "k", text("v")), backends.ErrWrongType, "add")
		wantErr(t, s.CompareAndSwap(ctx, "k", tok, text("v")), backends.ErrWrongType, "swap")
		wantErr(t, s.CompareAndDelete(ctx, "k", tok), backends.ErrWrongType, "conditional delete")
		wantErr(t, s.SetNewer(ctx, "k", text("v")), backends.ErrWrongType, "set newer")
		wantErr(t, s.Touch(ctx, "k", 0), backends.ErrWrongType, "touch")
		_, err = s.Increment(ctx, "k", 1, 1, 0)
		wantErr(t, err, backends.ErrWrongType, "increment")
		_, _, err = s.Acquire(ctx, "k", time.Minute)
		wantErr(t, err, backends.ErrWrongType, "acquire")
		wantErr(t, s.AcquireMany(ctx, []string{"k"}, time.Minute)[0].Err, backends.ErrWrongType, "acquire many")
		if n := do(t, s, "llen", "k"); n != int64(1) {
			t.Fatalf("the list has %v elements now", n)
		}
	}
}
