package bolt

import (
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// compactFrom is the size below which a file is not worth compacting.
const compactFrom = 1 << 20

// openCompact opens the file; one that is three quarters free is replaced by a compact copy,
// where the system can.
// The old file stays locked until the new one is in its place.
func openCompact(cfg Config) (*bbolt.DB, error) {
	db, err := open(cfg)
	if err != nil {
		return nil, err
	}
	var size int64
	db.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil })
	free := int64(db.Stats().FreePageN) * int64(db.Info().PageSize)
	if !replaceable || size < compactFrom || free < size/4*3 {
		return db, nil
	}
	defer db.Close()
	if err := copyCompact(db, cfg.Path); err != nil {
		return nil, fmt.Errorf("writebehind/bolt: compact %s: %w", cfg.Path, err)
	}
	return open(cfg)
}

func copyCompact(db *bbolt.DB, path string) error {
	tmp := path + ".compact"
	if err := os.Remove(tmp); err != nil && !os.IsNotExist(err) {
		return err
	}
	dst, err := bbolt.Open(tmp, 0o600, nil)
	if err != nil {
		return err
	}
	err = guard(path, func() error { return bbolt.Compact(dst, db, 1<<20) })
	if err == nil {
		err = dst.Sync()
	}
	if err2 := dst.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return syncDir(filepath.Dir(path))
}
