package checker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/internal/checker"
)

// childEnv names the file of the parent's History in a child.
const childEnv = "HEARTH_CHECKER_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		os.Exit(child(path))
	}
	os.Exit(m.Run())
}

func TestRead_JudgesByWhatWasCompleteWhenItBegan(t *testing.T) {
	h := checker.New(2)
	early := h.Begin(0)
	v1 := h.Write(0)
	during := h.Begin(0)
	h.Complete(0, v1)
	late := h.Begin(0)
	v2 := h.Write(0)
	for _, c := range []struct {
		name string
		read checker.Read
		id   uint64
		want checker.Verdict
		why  string
	}{
		{"old before the write", early, 0, checker.Fine, "nothing was complete"},
		{"new before the write", early, v1, checker.Fine, "the write came while the read was under way"},
		{"old during the write", during, 0, checker.Fine, "the write was not complete"},
		{"old after the write", late, 0, checker.Stale, "the write was complete"},
		{"new after the write", late, v1, checker.Fine, "it is the newest complete one"},
		{"newer, not complete", late, v2, checker.Fine, "the write was under way"},
		{"never written", late, v2 + 1, checker.Invented, "there is no such value"},
		{"another key", h.Begin(1), 0, checker.Fine, "keys know nothing of each other"},
	} {
		if got := c.read.End(c.id); got != c.want {
			t.Errorf("%s: %v, want %v: %s", c.name, got, c.want, c.why)
		}
	}
	if got := h.Counts(); got != (checker.Counts{Reads: 8, Stale: 1, Invented: 1}) {
		t.Errorf("counts %+v", got)
	}
}

func TestRead_OrderOfCommitsDecidesNotOfNames(t *testing.T) {
	h := checker.New(1)
	a, b := h.Name(0), h.Name(0)
	if v := h.Begin(0).Judge(a); v != checker.Invented {
		t.Errorf("a value before its commit: %v", v)
	}
	h.Commit(0, b)
	h.Commit(0, a) // named first, committed last
	if h.Current(0) != a {
		t.Fatalf("the source holds %d, want %d", h.Current(0), a)
	}
	h.Complete(0, b)
	if v := h.Begin(0).Judge(b); v != checker.Fine {
		t.Errorf("the first commit while the second is not complete: %v", v)
	}
	h.Complete(0, a)
	h.Complete(0, b) // late news changes nothing
	if v := h.Begin(0).Judge(b); v != checker.Stale {
		t.Errorf("the first commit after the second is complete: %v", v)
	}
}

func TestRead_ValuesFarBehindAreStale(t *testing.T) {
	h := checker.New(1)
	old := h.Write(0)
	for range 5000 {
		h.Complete(0, h.Write(0))
	}
	if v := h.Begin(0).Judge(old); v != checker.Stale {
		t.Errorf("a value five thousand writes old: %v", v)
	}
}

func TestRead_ThatWasOvertakenByAThousandWritesIsNotBlamed(t *testing.T) {
	h := checker.New(1)
	v := h.Write(0)
	h.Complete(0, v)
	r := h.Begin(0) // finds v, and is not heard of for a long time
	for range 5000 {
		h.Complete(0, h.Write(0))
	}
	if got := r.Judge(v); got != checker.Fine {
		t.Errorf("%v: it was the newest when the read began", got)
	}
}

// A register under one lock is regular; a copy of it that is refreshed now and then is not.
func TestHistory_HammerSeesStaleCopiesAndNothingElse(t *testing.T) {
	const keys = 4
	// Writers and readers go on until both have done enough, however the machine divides its time
	// among them.
	run := func(read func(h *checker.History, k int) uint64, enough func(checker.Counts) bool) checker.Counts {
		h := checker.New(keys)
		var stop atomic.Bool
		var writers, readers sync.WaitGroup
		late := time.Now().Add(time.Minute)
		for range 2 {
			writers.Go(func() {
				for i := 0; i < 20000 || !enough(h.Counts()) && time.Now().Before(late); i++ {
					k := i % keys
					h.Complete(k, h.Write(k))
				}
			})
			readers.Go(func() {
				for i := 0; !stop.Load(); i++ {
					k := i % keys
					r := h.Begin(k)
					r.End(read(h, k))
				}
			})
		}
		writers.Wait()
		stop.Store(true)
		readers.Wait()
		return h.Counts()
	}
	hundred := func(c checker.Counts) bool { return c.Reads >= 100 }
	if c := run((*checker.History).Current, hundred); c.Stale+c.Invented > 0 || !hundred(c) {
		t.Errorf("reads of the source itself: %+v", c)
	}
	var copies [keys]atomic.Uint64
	var n atomic.Uint64
	c := run(func(h *checker.History, k int) uint64 {
		if n.Add(1)%100 == 0 {
			copies[k].Store(h.Current(k))
		}
		return copies[k].Load()
	}, func(c checker.Counts) bool { return c.Stale > 0 })
	if c.Stale == 0 {
		t.Errorf("reads of a copy: %+v, and none was seen to be stale", c)
	}
}

func TestOpen_ProcessesShareOneHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	h, err := checker.Open(path, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	h.Complete(2, h.Write(2))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	if h.Word(0).Load() != 1 {
		t.Error("the child saw another value than the parent's")
	}
	if got := h.Begin(2).End(1); got != checker.Stale {
		t.Errorf("after the child's write the parent's value is %v, want stale", got)
	}
	if c := h.Counts(); c.Reads != 2 {
		t.Errorf("%d reads counted in both processes, want 2", c.Reads)
	}
}

// child reads the parent's value, and writes the next.
func child(path string) int {
	h, err := checker.Open(path, 3)
	if err != nil {
		println(err.Error())
		return 1
	}
	id := h.Current(2)
	h.Word(0).Store(id)
	if v := h.Begin(2).End(id); v != checker.Fine {
		println("verdict " + v.String() + " on value " + strconv.FormatUint(id, 10))
		return 1
	}
	h.Complete(2, h.Write(2))
	return 0
}
