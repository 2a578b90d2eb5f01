package note

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var golden = Note{Kind: Keys, Origin: Origin{0: 0xAA, 15: 0xBB}, Seq: 300, Namespace: "ns", Keys: []string{"ns:1", ""}}

const goldenHex = "0049014b" + "aa0000000000000000000000000000bb" + "ac02" + "026e73" + "02" + "046e733a31" + "00"

func TestAppend_Golden(t *testing.T) {
	if got := hex.EncodeToString(Append(nil, golden)); got != goldenHex {
		t.Errorf("got %s, want %s: processes of two releases would not understand each other", got, goldenHex)
	}
}

func TestParse_ReadsWhatAppendWrote(t *testing.T) {
	for _, n := range []Note{golden, {Kind: All, Seq: 1}, {Kind: Tail, Seq: 1 << 63, Namespace: "x"}} {
		got, err := Parse(string(Append(nil, n)))
		if err != nil || !bytes.Equal(Append(nil, got), Append(nil, n)) {
			t.Errorf("%+v became %+v, %v", n, got, err)
		}
	}
}

func TestParse_RefusesEverythingElse(t *testing.T) {
	good := string(Append(nil, golden))
	for i := range good {
		if _, err := Parse(good[:i]); err == nil {
			t.Errorf("%d of %d bytes were taken", i, len(good))
		}
	}
	for name, p := range map[string]string{
		"one byte more":   good + "x",
		"a later version": good[:2] + "\x02" + good[3:],
		"another kind":    good[:3] + "X" + good[4:],
		"keys of a tail":  good[:3] + "T" + good[4:],
		"no keys":         string(Append(nil, Note{Kind: Keys, Seq: 1})),
		"number zero":     string(Append(nil, Note{Kind: All})),
		"text":            "user:1",
		"huge":            strings.Repeat("x", 1<<20),
	} {
		if n, err := Parse(p); err == nil {
			t.Errorf("%s was taken as %+v", name, n)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(Append(nil, golden)))
	f.Add(string(Append(nil, Note{Kind: All, Seq: 1})))
	f.Fuzz(func(t *testing.T, p string) {
		n, err := Parse(p)
		if err == nil && string(Append(nil, n)) != p {
			t.Errorf("%q is read and written as %q", p, Append(nil, n))
		}
	})
}

func TestSplit_KeepsMessagesSmall(t *testing.T) {
	many := make([]string, 1300)
	lists, ok := Split(many)
	if !ok || len(lists) != 3 || len(slices.Concat(lists...)) != 1300 {
		t.Errorf("%d lists, %v", len(lists), ok)
	}
	long := []string{strings.Repeat("a", MaxBytes-1), strings.Repeat("b", MaxBytes), "c"}
	if lists, ok := Split(long); !ok || len(lists) != 3 {
		t.Errorf("%d lists, %v", len(lists), ok)
	}
	if _, ok := Split([]string{strings.Repeat("a", MaxBytes+1)}); ok {
		t.Error("a key beyond the limit was taken")
	}
}

func TestGap_EveryMissingNumberIsSeen(t *testing.T) {
	a, b := Origin{1}, Origin{2}
	for _, c := range []struct {
		name string
		say  []Note
		want []bool
	}{
		{"in order", []Note{{Keys, a, 1, "", nil}, {Keys, a, 2, "", nil}, {All, a, 3, "", nil}}, []bool{false, false, false}},
		{"one missing", []Note{{Keys, a, 1, "", nil}, {Keys, a, 3, "", nil}, {Keys, a, 4, "", nil}}, []bool{false, true, false}},
		{"late", []Note{{Keys, a, 1, "", nil}, {Keys, a, 3, "", nil}, {Keys, a, 2, "", nil}, {Keys, a, 4, "", nil}}, []bool{false, true, false, false}},
		{"two senders", []Note{{Keys, a, 1, "", nil}, {Keys, b, 1, "", nil}, {Keys, a, 2, "", nil}}, []bool{false, false, false}},
		{"in mid-count", []Note{{Keys, a, 9, "", nil}, {Keys, a, 10, "", nil}}, []bool{true, false}},
		{"the last one missing", []Note{{Keys, a, 1, "", nil}, {Tail, a, 2, "", nil}, {Tail, a, 2, "", nil}}, []bool{false, true, false}},
		{"nothing missing", []Note{{Keys, a, 1, "", nil}, {Tail, a, 1, "", nil}}, []bool{false, false}},
	} {
		var l Ledger
		blind := Ledger{Blind: true}
		for i, n := range c.say {
			if got := l.Gap(n); got != c.want[i] {
				t.Errorf("%s: message %d: gap %v", c.name, i, got)
			}
			if blind.Gap(n) {
				t.Error("the blind one sees")
			}
		}
	}
}

func TestHole_OnlyWhatIsMissingAfterTheFirstIsOne(t *testing.T) {
	a, b := Origin{1}, Origin{2}
	var l Ledger
	for i, c := range []struct {
		say  Note
		want bool
	}{
		{Note{Kind: Keys, Origin: a, Seq: 9}, false}, // from before the reader joined
		{Note{Kind: Tail, Origin: a, Seq: 1}, false}, // somebody joins, and has said more than that
		{Note{Kind: Keys, Origin: a, Seq: 10}, false},
		{Note{Kind: Tail, Origin: b, Seq: 1}, false},
		{Note{Kind: Keys, Origin: b, Seq: 7}, false}, // the tail was no beginning
		{Note{Kind: Keys, Origin: a, Seq: 12}, true},
		{Note{Kind: All, Origin: a, Seq: 13}, false},
	} {
		if got := l.Hole(c.say); got != c.want {
			t.Errorf("message %d: hole %v", i, got)
		}
	}
	for i := range maxOrigins - 2 {
		l.Hole(Note{Kind: Keys, Origin: Origin{byte(i), byte(i >> 8), 1}, Seq: 5})
	}
	if !l.Hole(Note{Kind: Keys, Origin: Origin{15: 1}, Seq: 5}) {
		t.Error("4096 senders were forgotten, and no flush")
	}
}

func TestGap_ForgetsSendersOnlyWithAFlush(t *testing.T) {
	var l Ledger
	for i := range maxOrigins {
		if l.Gap(Note{Kind: Keys, Origin: Origin{byte(i), byte(i >> 8)}, Seq: 1}) {
			t.Fatal("a gap")
		}
	}
	if !l.Gap(Note{Kind: Keys, Origin: Origin{15: 1}, Seq: 1}) {
		t.Error("4096 senders were forgotten, and no flush")
	}
}

// wire is a server that takes messages when the test lets it.
type wire struct {
	mu   sync.Mutex
	sent []Note
	open chan error // one per sending
}

func (w *wire) send(ctx context.Context, messages []string) error {
	select {
	case err := <-w.open:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range messages {
		n, err := Parse(m)
		if err != nil {
			return err
		}
		w.sent = append(w.sent, n)
	}
	return nil
}

func TestSender_GathersWhileOneIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{open: make(chan error)}
		s := &Sender{Timeout: time.Second, Send: w.send}
		var calls sync.WaitGroup
		say := func(k string) {
			calls.Go(func() {
				if err := s.Keys(t.Context(), []string{k}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		say("a") // on its way
		for _, k := range []string{"b", "c", "d"} {
			say(k)
		}
		w.open <- nil
		w.open <- nil
		calls.Wait()
		if len(w.sent) != 2 || len(w.sent[1].Keys) != 3 || w.sent[1].Seq != 2 {
			t.Errorf("sent %+v, want a, then the other three in one", w.sent)
		}
	})
}

func TestSender_ACallerWhoLeavesDoesNotTakeTheOthersMessagesAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{open: make(chan error)}
		s := &Sender{Timeout: time.Second, Send: w.send}
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { first <- s.Keys(ctx, []string{"a"}) }()
		synctest.Wait()
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		w.open <- nil
		synctest.Wait()
		if len(w.sent) != 1 {
			t.Errorf("sent %+v", w.sent)
		}
		if err := s.Keys(ctx, []string{"b"}); !errors.Is(err, context.Canceled) {
			t.Errorf("an ended ctx: %v", err)
		}
	})
}

func TestSender_AFailureUsesUpItsNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{open: make(chan error, 2)}
		s := &Sender{Timeout: time.Second, Send: w.send}
		if err := s.Keys(t.Context(), []string{"a"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a server that says nothing: %v", err)
		}
		w.open <- nil
		if err := s.All(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := w.sent[0]; n.Seq != 2 || n.Kind != All {
			t.Errorf("sent %+v, want number 2: receivers must see the gap", n)
		}
		synctest.Wait()
		if m, seq, ok := s.Tail(); !ok || seq != 2 || m == "" {
			t.Errorf("tail %d %v", seq, ok)
		}
	})
}

func TestSender_TooLongAKeyIsEverything(t *testing.T) {
	w := &wire{open: make(chan error, 1)}
	w.open <- nil
	s := &Sender{Timeout: time.Minute, Send: w.send}
	if err := s.Keys(t.Context(), []string{strings.Repeat("x", MaxBytes+1)}); err != nil {
		t.Fatal(err)
	}
	if w.sent[0].Kind != All {
		t.Errorf("sent %+v", w.sent[0])
	}
	if err := s.Keys(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
