package journaltest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
)

// Memory is a journal in memory, the reference of the suite. What it holds survives Close and
// Crash, for the next [Memory.Reopen], as a file would. It is safe for concurrent use.
type Memory struct {
	// BeforeCommit, when set, is asked first; its error refuses the commit, with nothing
	// changed. Set it before the journal is used.
	BeforeCommit func(tx *writebehind.Tx) error

	disk   *disk
	mu     sync.Mutex
	closed bool
}

type disk struct {
	mu      sync.Mutex
	seq     uint64
	records map[uint64]writebehind.Record
}

// NewMemory returns an empty journal.
func NewMemory() *Memory {
	return &Memory{disk: &disk{records: map[uint64]writebehind.Record{}}}
}

// Reopen returns a journal on what m has stored, as the next process would open it. Commits of
// m itself fail from now on, as after a kill.
func (m *Memory) Reopen() *Memory {
	m.Close()
	return &Memory{disk: m.disk}
}

// Commit implements writebehind.Journal.
func (m *Memory) Commit(ctx context.Context, tx *writebehind.Tx) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.BeforeCommit != nil {
		if err := m.BeforeCommit(tx); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return tier.ErrClosed
	}
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	for i := range tx.Put {
		rec := &tx.Put[i]
		if rec.Seq == 0 {
			m.disk.seq++
			rec.Seq = m.disk.seq
		} else if _, there := m.disk.records[rec.Seq]; !there {
			continue // settled meanwhile
		}
		kept := *rec
		kept.Value = slices.Clone(rec.Value)
		m.disk.records[rec.Seq] = kept
	}
	for _, ref := range tx.Remove {
		delete(m.disk.records, ref.Seq)
	}
	return nil
}

// Replay implements writebehind.Journal.
func (m *Memory) Replay(ctx context.Context, fn func(writebehind.Record) error) error {
	m.mu.Lock()
	closed := m.closed
	m.mu.Unlock()
	if closed {
		return tier.ErrClosed
	}
	for _, rec := range m.Records() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(rec); err != nil {
			return err
		}
	}
	return nil
}

// LastSeq implements writebehind.Counted.
func (m *Memory) LastSeq() (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0, tier.ErrClosed
	}
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	return m.disk.seq, nil
}

// Records returns what is stored, in the order of Seq.
func (m *Memory) Records() []writebehind.Record {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.disk.records), func(a, b writebehind.Record) int {
		return cmp.Compare(a.Seq, b.Seq)
	})
}

// Close implements writebehind.Journal.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
