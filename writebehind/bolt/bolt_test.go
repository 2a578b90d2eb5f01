package bolt_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/bolt"
	"github.com/hearthcache/hearth/writebehind/journaltest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if run := children[os.Getenv("WRITEBEHIND_BOLT_CHILD")]; run != nil {
		run()
		return
	}
	goleak.VerifyTestMain(m)
}

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	journaltest.Run(t, func(t *testing.T) writebehind.Journal {
		return open(t, bolt.Config{Path: filepath.Join(dir, filepath.Base(t.Name()))})
	})
}

func open(t *testing.T, cfg bolt.Config) *bolt.Journal {
	t.Helper()
	j, err := bolt.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func puts(n, size int) *writebehind.Tx {
	tx := &writebehind.Tx{}
	for i := range n {
		tx.Put = append(tx.Put, writebehind.Record{Key: fmt.Sprint("k", i), Kind: writebehind.Set, Value: bytes.Repeat([]byte{1}, size)})
	}
	return tx
}

func commit(t *testing.T, j *bolt.Journal, tx *writebehind.Tx) {
	t.Helper()
	if err := j.Commit(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, j *bolt.Journal) (n int) {
	t.Helper()
	if err := j.Replay(t.Context(), func(writebehind.Record) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOpen_SecondOpenerIsToldWhoHasTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	open(t, bolt.Config{Path: path})
	_, err := bolt.Open(bolt.Config{Path: path, LockTimeout: time.Millisecond})
	if !errors.Is(err, bolt.ErrInUse) || !strings.Contains(err.Error(), "journal "+path+" is in use by another process") {
		t.Errorf("error %v", err)
	}
}

func TestOpen_RefusesBadSettingsByName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	for field, cfg := range map[string]bolt.Config{
		"Path":        {},
		"MaxBytes":    {Path: path, MaxBytes: 64 << 10}, // would be full from the start
		"LockTimeout": {Path: path, LockTimeout: -1},
	} {
		if _, err := bolt.Open(cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	j := open(t, bolt.Config{Path: path, MaxBytes: 256 << 10})
	commit(t, j, puts(10, 1000))
}

func TestOpen_DamagedFileIsAnErrorAndLeftAlone(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	j := open(t, bolt.Config{Path: good})
	commit(t, j, puts(500, 200))
	j.Close()
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	cut := func(n int) []byte { return whole[:n] }
	zero := func(from, to int) []byte {
		b := bytes.Clone(whole)
		clear(b[from:to])
		return b
	}
	noise := func(from, to int) []byte {
		b := bytes.Clone(whole)
		r := rand.New(rand.NewPCG(1, 2))
		for i := from; i < to; i++ {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	for _, c := range []struct {
		name string
		file []byte
	}{
		{"text", []byte(strings.Repeat("this is not a journal\n", 1000))},
		{"ten bytes", cut(10)},
		{"one page", cut(4096)},
		{"cut in half", cut(len(whole) / 2)},
		{"cut by a page", cut(len(whole) - 4096)},
		{"torn within a page", cut(len(whole) - 4096 - 1000)},
		{"both metas zero", zero(0, 8192)},
		{"all but the metas zero", zero(8192, len(whole))},
		{"noise after the metas", noise(8192, len(whole))},
		{"a flipped value", noise(len(whole)/2, len(whole)/2+100)},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-"))
			if err := os.WriteFile(path, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			j, err := bolt.Open(bolt.Config{Path: path})
			if err == nil {
				n := 0
				err = j.Replay(t.Context(), func(writebehind.Record) error { n++; return nil })
				j.Close()
				if err == nil && n == 500 {
					t.Log("the damage was in a free page")
					return
				}
			}
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Fatalf("error %v", err)
			}
			if now, _ := os.ReadFile(path); !bytes.Equal(now, c.file) {
				t.Error("the file was changed")
			}
			if !errors.Is(err, bolt.ErrDamaged) {
				t.Errorf("not ErrDamaged: %v", err)
			}
		})
	}
}

func TestOpen_TornCommitIsAsIfItHadNotBegun(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "j")
	j := open(t, bolt.Config{Path: path})
	file := func() []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	commit(t, j, puts(100, 200))
	before := file()
	commit(t, j, puts(10, 200))
	after := file()
	j.Close()
	// A commit writes its pages where nothing is, and then one of the two metas, in turn.
	page := os.Getpagesize()
	metas, newest := 2*page, 0
	if !bytes.Equal(before[page:metas], after[page:metas]) {
		newest = page
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, c := range []struct {
		name, why string
		file      []byte
		want      int
	}{
		{"grown", "the file was made longer, and nothing written", join(before, make([]byte, page)), 100},
		{"pages without the meta", "the machine lost its power before the meta was written", join(before[:metas], after[metas:]), 100},
		{"torn meta", "it lost it while the meta was written", join(after[:newest], after[newest:newest+40], make([]byte, page-40), after[newest+page:]), 100},
		{"whole", "and this is all of it", after, 110},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-"))
			if err := os.WriteFile(path, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			j := open(t, bolt.Config{Path: path})
			if n := count(t, j); n != c.want {
				t.Errorf("%s: %d records, want %d", c.why, n, c.want)
			}
			commit(t, j, puts(10, 200)) // and it goes on
			if n := count(t, j); n != c.want+10 {
				t.Errorf("after another commit: %d records, want %d", n, c.want+10)
			}
		})
	}
}

func TestCommit_FullFileRefusesUntilSomethingIsRemoved(t *testing.T) {
	j := open(t, bolt.Config{Path: filepath.Join(t.TempDir(), "j"), MaxBytes: 1 << 20})
	var stored []writebehind.Ref
	for {
		tx := puts(10, 1000)
		err := j.Commit(t.Context(), tx)
		if errors.Is(err, writebehind.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range tx.Put {
			stored = append(stored, writebehind.Ref{Key: r.Key, Seq: r.Seq})
		}
		if len(stored) > 1000 {
			t.Fatal("1 MB of values went into a file of at most 1 MiB, with room to spare")
		}
	}
	if len(stored) < 300 {
		t.Errorf("full after %d records of 1000 bytes", len(stored))
	}
	if got := count(t, j); got != len(stored) {
		t.Errorf("%d records after a refused commit, want %d", got, len(stored))
	}
	commit(t, j, &writebehind.Tx{Remove: stored[:len(stored)/2]})
	commit(t, j, &writebehind.Tx{})
	commit(t, j, puts(10, 1000))
}

func TestOpen_MostlyFreeFileIsCompacted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, bolt.Config{Path: path, NoSync: true})
	tx := puts(5000, 1000)
	commit(t, j, tx)
	last := tx.Put[len(tx.Put)-1]
	var gone []writebehind.Ref
	for _, r := range tx.Put[:len(tx.Put)-1] {
		gone = append(gone, writebehind.Ref{Key: r.Key, Seq: r.Seq})
	}
	commit(t, j, &writebehind.Tx{Remove: gone})
	j.Close()
	before, _ := os.Stat(path)
	j = open(t, bolt.Config{Path: path})
	after, _ := os.Stat(path)
	if after.Size() > before.Size()/4 {
		t.Errorf("%d bytes before, %d after", before.Size(), after.Size())
	}
	if n := count(t, j); n != 1 {
		t.Errorf("%d records left, want 1", n)
	}
	next := puts(1, 1)
	commit(t, j, next)
	if next.Put[0].Seq <= last.Seq {
		t.Errorf("sequence %d after compacting, %d before", next.Put[0].Seq, last.Seq)
	}
	if _, err := bolt.Open(bolt.Config{Path: path, LockTimeout: time.Millisecond}); !errors.Is(err, bolt.ErrInUse) {
		t.Errorf("the compacted file is not locked: %v", err)
	}
}

// A sink that stores what is newer would ignore all that comes after, if the counting began anew.
func TestOpen_NewFileCountsOnFromTheOneBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	seq := func() uint64 {
		j := open(t, bolt.Config{Path: path})
		tx := puts(50, 10)
		commit(t, j, tx)
		j.Close()
		return tx.Put[49].Seq
	}
	first := seq()
	if err := os.Rename(path, path+".aside"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond) // 500 steps
	if second := seq(); second <= first+50 {
		t.Errorf("the new file gave %d, the one before %d", second, first)
	}
	if max := uint64(1)<<47 - 1; first > max {
		t.Errorf("sequence %d leaves no room for the 16 bits below it", first)
	}
}
