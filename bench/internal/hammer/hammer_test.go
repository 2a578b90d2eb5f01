package hammer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/internal/checker"
	"github.com/hearthcache/hearth/internal/fence"
	"github.com/hearthcache/hearth/tier"
)

const testEnv = "HEARTH_HAMMER_TEST"

// task is what the test has a child do.
type task struct {
	Path    string
	Without string
	Orphan  bool // do nothing until the parent is gone
}

func TestMain(m *testing.M) {
	if os.Getenv(testEnv) != "" {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

func child() int {
	var t task
	if err := Child(testEnv, &t); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	Remove(t.Without)
	h, err := checker.Open(t.Path, 1)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	h.Word(0).Add(1)
	if t.Orphan {
		time.Sleep(time.Minute) // long before that it is ended
	}
	if !fence.Removed(fence.Lease) {
		return 3
	}
	return 0
}

func TestStart_ChildrenAreToldWhatToDoAndEndWithTheirParent(t *testing.T) {
	task := task{Path: filepath.Join(t.TempDir(), "history"), Without: fence.Lease.String()}
	h, err := checker.Open(task.Path, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	told, err := Start(testEnv, task)
	if err != nil {
		t.Fatal(err)
	}
	if err := told.Wait(); err != nil {
		t.Errorf("the fence was not removed in the child: %v", err)
	}
	task.Orphan = true
	orphan, ours, err := start(testEnv, task)
	if err != nil {
		t.Fatal(err)
	}
	Await(h, 0, 2)
	if n := h.Word(0).Load(); n != 2 {
		t.Fatalf("%d children are at work, want 2", n)
	}
	if err := ours.Close(); err != nil { // as the end of this process would
		t.Fatal(err)
	}
	if err := orphan.Wait(); err == nil || orphan.ProcessState.ExitCode() != 2 {
		t.Errorf("the child ended with %v, want 2: its parent is gone", err)
	}
}

func TestOver_WithoutAFenceEndsWhenEnoughIsSeen(t *testing.T) {
	u := Until{Goal: 100, Least: time.Second, Most: time.Minute}
	for _, c := range []struct {
		name   string
		counts checker.Counts
		passed time.Duration
		fenced bool
		want   bool
	}{
		{"goal and time", checker.Counts{Reads: 100}, time.Second, true, true},
		{"too soon", checker.Counts{Reads: 100}, time.Second - 1, true, false},
		{"too few reads", checker.Counts{Reads: 99}, 30 * time.Second, true, false},
		{"long enough", checker.Counts{}, time.Minute, true, true},
		{"stale reads do not end it", checker.Counts{Stale: 99}, 30 * time.Second, true, false},
		{"seen", checker.Counts{Stale: enough}, 0, false, true},
		{"seen too few", checker.Counts{Reads: 1000, Stale: enough - 1}, 30 * time.Second, false, false},
		{"in vain", checker.Counts{}, time.Minute, false, true},
	} {
		if got := u.Over(c.counts, c.passed, c.fenced); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestReader_CountsWhatIsStaleAndWhatNobodyWrote(t *testing.T) {
	ctx, h := context.Background(), checker.New(3)
	c, err := tier.New(tier.Config[uint64]{
		Namespace: "t", TTL: time.Minute, Local: tier.Local[uint64]{Disabled: true},
		Remotes: []tier.Remote{{Name: "memory", Store: memory.New(memory.Config{})}},
		Loader:  tier.LoaderFunc[uint64](func(_ context.Context, key string) (uint64, error) { return h.Current(Number(key)), nil }),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	r := Reader[uint64]{History: h, Cache: c, ID: func(v uint64) (uint64, error) {
		if v == 999 {
			return 0, errors.New("no number")
		}
		return v, nil
	}}
	if got, err := r.All(ctx, 0, 3); got != 3 || err != nil {
		t.Fatalf("%d values, %v", got, err)
	}
	h.Complete(0, h.Write(0)) // and nobody tells the cache
	if err := c.Set(ctx, Name(1), 999); err != nil {
		t.Fatal(err)
	}
	if _, err := r.All(ctx, 0, 3); err != nil {
		t.Fatal(err)
	}
	r.Some(ctx, 4, func() int { return 0 })
	if got, want := h.Counts(), (checker.Counts{Reads: 10, Stale: 5, Invented: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
