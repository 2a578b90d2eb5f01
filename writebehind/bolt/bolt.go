package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

var (
	// ErrInUse: another process has the file open.
	ErrInUse = errors.New("in use by another process")
	// ErrDamaged: the file is not a journal, or no longer one: cut short, or overwritten. It is
	// left as it is.
	ErrDamaged = errors.New("damaged")
)

// Config names the file.
type Config struct {
	Path string // created when it is not there; its directory must exist

	// MaxBytes bounds the file; beyond it writes are refused with writebehind.ErrFull until
	// others have been applied. Zero = 1 GiB; at least 256 KiB, since a commit needs some room
	// besides its records.
	MaxBytes int64

	// LockTimeout is how long Open waits for another process to let go. Zero = 1 s.
	LockTimeout time.Duration

	// NoSync leaves the file to the operating system: accepted writes survive the process, not
	// the machine.
	NoSync bool
}

// Journal is a writebehind.Journal in a file. It is safe for concurrent use.
type Journal struct {
	db     *bbolt.DB
	path   string
	max    int64
	closed atomic.Bool

	finish func(*bbolt.Tx) error // bbolt's Commit; tests make it fail
	mu     sync.Mutex            // held by Commit, which bbolt would serialize anyway
	doubt  []uint64              // records of a commit that was reported as unknown
}

var _ writebehind.Counted = (*Journal)(nil)

// minBytes is what bbolt's own pages and the allowance of a commit leave some room in.
const minBytes = 256 << 10

var bucketName = []byte("writebehind 1")

// Open opens or creates the file. Its errors name the path; [ErrInUse] and [ErrDamaged] can be
// told apart with errors.Is.
func Open(cfg Config) (*Journal, error) {
	if cfg.Path == "" {
		return nil, errors.New("writebehind/bolt: no Path")
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 1 << 30
	}
	if cfg.MaxBytes < minBytes {
		return nil, fmt.Errorf("writebehind/bolt: MaxBytes is %d, less than %d", cfg.MaxBytes, minBytes)
	}
	if cfg.LockTimeout < 0 {
		return nil, fmt.Errorf("writebehind/bolt: LockTimeout is %v", cfg.LockTimeout)
	}
	if cfg.LockTimeout == 0 {
		cfg.LockTimeout = time.Second
	}
	db, err := openCompact(cfg)
	if err != nil {
		return nil, err
	}
	return &Journal{db: db, path: cfg.Path, max: cfg.MaxBytes, finish: (*bbolt.Tx).Commit}, nil
}

// open returns the locked database that is at the path now: the one that was there before may
// have been replaced by its compacted copy while this process waited for the lock.
func open(cfg Config) (db *bbolt.DB, err error) {
	for {
		var file *os.File
		err := guard(cfg.Path, func() (err error) {
			db, err = bbolt.Open(cfg.Path, 0o600, &bbolt.Options{
				Timeout: cfg.LockTimeout,
				NoSync:  cfg.NoSync,
				OpenFile: func(name string, flag int, perm os.FileMode) (*os.File, error) {
					var err error
					file, err = os.OpenFile(name, flag, perm)
					return file, err
				},
			})
			return err
		})
		if err != nil {
			if file != nil {
				file.Close() // bbolt leaves it open when it panics; closing twice is harmless
			}
			return nil, openError(cfg.Path, err)
		}
		mine, err1 := file.Stat()
		there, err2 := os.Stat(cfg.Path)
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			return db, check(db, cfg.Path, mine.Size())
		}
		db.Close()
		if err := errors.Join(err1, err2); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("writebehind/bolt: journal %s: %w", cfg.Path, err)
		}
	}
}

// check makes sure of the bucket, and that the file is as long as it says.
func check(db *bbolt.DB, path string, size int64) error {
	err := guard(path, func() error {
		fresh := false
		err := db.View(func(tx *bbolt.Tx) error {
			if tx.Size() > size {
				return fmt.Errorf("%w: cut short, %d of %d bytes are there", ErrDamaged, size, tx.Size())
			}
			fresh = tx.Bucket(bucketName) == nil
			return nil
		})
		if err != nil || !fresh {
			return err
		}
		return db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket(bucketName)
			if err != nil {
				return err
			}
			return b.SetSequence(firstSeq(time.Now()))
		})
	})
	if err != nil {
		db.Close()
		return openError(path, err)
	}
	return syncDir(filepath.Dir(path))
}

// firstSeq is where a new file begins to count: at the time of now, in steps of 20 us. A file that
// takes the place of one that was lost or set aside is then ahead of it, unless that took more than
// 50,000 records a second all its life; from 1, a sink that stores what is newer would ignore every
// write. As a writer's Seq, 65,536 times that, it is above those of the level Memory, below those
// of a stream, and fits into a signed 64-bit column until 2059.
func firstSeq(now time.Time) uint64 { return uint64(now.UnixMicro() / 20) }

func openError(path string, err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("writebehind/bolt: journal %s is %w", path, ErrInUse)
	case errors.Is(err, ErrDamaged):
		return fmt.Errorf("writebehind/bolt: journal %s is %w", path, err)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrFreePagesNotLoaded),
		strings.Contains(err.Error(), "file size too small"): // bbolt has no name for it
		return fmt.Errorf("writebehind/bolt: journal %s is %w: %w", path, ErrDamaged, err)
	}
	return fmt.Errorf("writebehind/bolt: journal %s: %w", path, err)
}

// guard turns into an error what bbolt makes of a damaged file: panics, and reads beyond its end.
func guard(path string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	return fn()
}

// Commit implements writebehind.Journal, with one transaction and one fsync. When the page that
// makes a transaction count was written and the disk then refused to confirm it, the error is
// tier.ErrUnknown: the records are in the file as long as this process lives, perhaps longer. The
// next Commit that succeeds has removed those that were new.
func (j *Journal) Commit(ctx context.Context, tx *writebehind.Tx) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if j.closed.Load() {
		return tier.ErrClosed
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	seqs := make([]uint64, len(tx.Put))
	var wrote bool
	err := guard(j.path, func() (err error) {
		wrote, err = j.update(tx, seqs)
		return err
	})
	switch {
	case err != nil && wrote:
		for i := range seqs {
			if tx.Put[i].Seq == 0 {
				j.doubt = append(j.doubt, seqs[i])
			}
		}
		return fmt.Errorf("writebehind/bolt: journal %s: %w: %w", j.path, tier.ErrUnknown, err)
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return tier.ErrClosed
	case errors.Is(err, writebehind.ErrFull):
		return err
	case err != nil:
		return fmt.Errorf("writebehind/bolt: journal %s: %w", j.path, err)
	}
	j.doubt = nil
	for i, seq := range seqs {
		tx.Put[i].Seq = seq
	}
	return nil
}

// update is bbolt's Update, which also tells of a failed one whether the file has it all the same.
func (j *Journal) update(tx *writebehind.Tx, seqs []uint64) (wrote bool, err error) {
	b, err := j.db.Begin(true)
	if err != nil {
		return false, err
	}
	id := b.ID()
	defer b.Rollback() // an error that says so, after Commit
	if err := j.write(b, tx, seqs); err != nil {
		return false, err
	}
	if err = j.finish(b); err == nil {
		return true, nil
	}
	view := j.db.View(func(now *bbolt.Tx) error { wrote = now.ID() >= id; return nil })
	return wrote || view != nil, err
}

func (j *Journal) write(b *bbolt.Tx, tx *writebehind.Tx, seqs []uint64) error {
	bucket := b.Bucket(bucketName)
	bucket.FillPercent = 0.95     // new records go to the end
	for _, seq := range j.doubt { // first: where they are not there, the numbers are given again
		if err := bucket.Delete(seqKey(seq)); err != nil {
			return err
		}
	}
	fresh, buf := 0, []byte(nil)
	for i := range tx.Put {
		rec := &tx.Put[i]
		if seqs[i] = rec.Seq; rec.Seq == 0 {
			seq, err := bucket.NextSequence()
			if err != nil {
				return err
			}
			seqs[i] = seq
			fresh += len(rec.Key) + len(rec.Value) + 128
		} else if bucket.Get(seqKey(rec.Seq)) == nil {
			continue // settled meanwhile
		}
		start := len(buf)
		buf, _ = rec.AppendBinary(buf)
		if err := bucket.Put(seqKey(seqs[i]), buf[start:len(buf):len(buf)]); err != nil {
			return err
		}
	}
	if fresh > 0 && j.full(b, fresh) {
		return fmt.Errorf("%w: journal %s has reached %d bytes", writebehind.ErrFull, j.path, j.max)
	}
	for _, ref := range tx.Remove {
		if err := bucket.Delete(seqKey(ref.Seq)); err != nil {
			return err
		}
	}
	return nil
}

// full reports that the file is as large as it may get and has no pages free for n more bytes.
// A commit also rewrites the path to what it changes, hence the allowance.
func (j *Journal) full(b *bbolt.Tx, n int) bool {
	const allowance = 64 << 10
	page := int64(j.db.Info().PageSize)
	free := int64(j.db.Stats().FreePageN) * page
	return b.Size()-free+int64(2*n)+allowance > j.max
}

func seqKey(seq uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 0, 8), seq)
}

// Replay implements writebehind.Journal. A record that is damaged ends it with [ErrDamaged].
func (j *Journal) Replay(ctx context.Context, fn func(writebehind.Record) error) error {
	if j.closed.Load() {
		return tier.ErrClosed
	}
	var own error
	err := guard(j.path, func() error {
		return j.db.View(func(b *bbolt.Tx) error {
			return b.Bucket(bucketName).ForEach(func(k, v []byte) error {
				if own = ctx.Err(); own != nil {
					return own
				}
				var rec writebehind.Record
				if err := rec.UnmarshalBinary(v); err != nil {
					return fmt.Errorf("%w: record %x: %w", ErrDamaged, k, err)
				}
				rec.Seq = binary.BigEndian.Uint64(k)
				own = fn(rec)
				return own
			})
		})
	})
	if err != nil && own == nil {
		return openError(j.path, err)
	}
	return own
}

// LastSeq implements writebehind.Counted. A new file begins at the time of day.
func (j *Journal) LastSeq() (seq uint64, err error) {
	if j.closed.Load() {
		return 0, tier.ErrClosed
	}
	err = guard(j.path, func() error {
		return j.db.View(func(b *bbolt.Tx) error {
			seq = b.Bucket(bucketName).Sequence()
			return nil
		})
	})
	if err != nil {
		return 0, openError(j.path, err)
	}
	return seq, nil
}

// Close implements writebehind.Journal and lets go of the file.
func (j *Journal) Close() error {
	if j.closed.Swap(true) {
		return nil
	}
	if err := j.db.Close(); err != nil {
		return fmt.Errorf("writebehind/bolt: journal %s: %w", j.path, err)
	}
	return nil
}
