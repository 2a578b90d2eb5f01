package bolt_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/bolt"
	"go.etcd.io/bbolt"
)

var errSync = errors.New("input/output error")

func TestCommit_MetaPageThatWasNotSyncedIsUnknown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, bolt.Config{Path: path})
	commit(t, j, puts(2, 10))
	refused := func(*bbolt.Tx) error { return errSync } // before anything that counts was written
	bolt.SetFinish(j, refused)
	if err := j.Commit(t.Context(), puts(3, 10)); !errors.Is(err, errSync) || errors.Is(err, tier.ErrUnknown) {
		t.Errorf("refused: %v", err)
	}
	if n := count(t, j); n != 2 {
		t.Errorf("%d records after a refused commit", n)
	}
	unsynced := func(tx *bbolt.Tx) error {
		if err := tx.Commit(); err != nil {
			return err
		}
		return errSync
	}
	bolt.SetFinish(j, unsynced)
	if err := j.Commit(t.Context(), puts(3, 10)); !errors.Is(err, errSync) || !errors.Is(err, tier.ErrUnknown) {
		t.Errorf("unsynced: %v", err)
	}
	if n := count(t, j); n != 5 {
		t.Fatalf("%d records: the test does not do what a failed sync does", n)
	}
	bolt.SetFinish(j, (*bbolt.Tx).Commit)
	commit(t, j, &writebehind.Tx{Put: puts(1, 10).Put})
	if n := count(t, j); n != 3 {
		t.Errorf("%d records, want 3: a later start would apply the unknown ones over newer", n)
	}
}
