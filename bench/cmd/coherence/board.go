//go:build unix

package main

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Sizes of what the processes share.
const (
	processes = 4
	keys      = 48
	writers   = 3 // two of the processes, and the foreign client
	versions  = 1 << 14
)

// board is the memory that all processes share: the source of record, when each version was out,
// and where the run is.
type board struct {
	Phase  atomic.Int64                 // 0 = warming up, above = measured, below = the end
	Up     [processes]atomic.Int64      // 1 while the process's link is up
	Latest [keys]atomic.Int64           // the source of record: the committed version
	Out    [keys][versions]atomic.Int64 // when a version's write had returned, ns; 0 = not
}

// share maps the file that the processes share.
func share(f *os.File) (*board, error) {
	size := int(unsafe.Sizeof(board{}))
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	p, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*board)(unsafe.Pointer(&p[0])), nil
}

// commit makes a new version of key in the source of record.
func (b *board) commit(key int) int64 { return b.Latest[key].Add(1) }

// out notes that a version's write has returned.
func (b *board) out(key int, version int64) {
	if version < versions {
		b.Out[key][version].Store(now())
	}
}

// replaced returns when the first of the versions after version was out; 0 if none was before
// the time at.
func (b *board) replaced(key int, version, at int64) (since int64) {
	for v := version + 1; v < versions && v <= b.Latest[key].Load(); v++ {
		if t := b.Out[key][v].Load(); t != 0 && t < at && (since == 0 || t < since) {
			since = t
		}
		if v > version+64 {
			break // far behind; what came first is among these
		}
	}
	return since
}

// settled reports whether latest is the last version of key and its write had returned before at.
func (b *board) settled(key int, latest, at int64) bool {
	if latest >= versions || b.Latest[key].Load() != latest {
		return false
	}
	out := b.Out[key][latest].Load()
	return out != 0 && out < at
}

// now is the time of a clock that all processes of one machine share.
func now() int64 { return time.Now().UnixNano() }
