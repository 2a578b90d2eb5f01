package fallback

import (
	"context"
	"errors"
	"fmt"

	"github.com/hearthcache/hearth/backends"
)

// resolve states what the Store can do, or why it cannot be: a copy needs leases on new.
func (s *Store) resolve() (backends.Caps, error) {
	n, o := s.new.caps, s.old.caps
	if n.Leaser == nil {
		return backends.Caps{}, fmt.Errorf("fallback: member %q cannot lease keys, so copies to it cannot be fenced", s.new.name)
	}
	c := backends.Caps{
		Batcher: s, Prompt: true, Split: true,
		Flags: n.Flags && o.Flags, Unsigned: n.Unsigned || o.Unsigned,
		MaxValueBytes: smaller(n.MaxValueBytes, o.MaxValueBytes),
	}
	if n.TTLer != nil && o.TTLer != nil {
		c.TTLer = s
	}
	if n.Tombstoner != nil && o.Tombstoner != nil {
		c.Tombstoner = s
	}
	if n.Pinger != nil && o.Pinger != nil {
		c.Pinger = s
	}
	if n.CASer != nil && o.CASer != nil {
		c.CASer = s
	}
	if o.Leaser != nil {
		c.Leaser = s
	}
	if o.Leaser != nil && n.BatchLeaser != nil && o.BatchLeaser != nil {
		c.BatchLeaser = s
	}
	if c.CASer != nil && n.Refresher != nil && o.Refresher != nil {
		c.Refresher = s
	}
	if n.Fencer != nil && o.Fencer != nil {
		c.Fencer = s
	}
	if n.Versioner != nil && o.Versioner != nil {
		c.Versioner = s
	}
	if n.Toucher != nil && o.Toucher != nil {
		c.Toucher = s
	}
	if n.Incrementer != nil && o.Incrementer != nil {
		c.Incrementer = s
	}
	invertible := s.cfg.OldKey == nil || s.cfg.FromOldKey != nil
	if n.Scanner != nil && o.Scanner != nil && invertible {
		c.Scanner = s
	}
	if n.Invalidator != nil && o.Invalidator != nil && invertible {
		c.Invalidator = s
	}
	c.Warner = s // of a fleet, if of neither member
	s.new.tokens, s.old.tokens = c.CASer != nil, c.CASer != nil
	s.new.flags, s.old.flags = c.Flags, c.Flags
	return c, nil
}

// smaller returns the smaller of two limits of which 0 means not known.
func smaller(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// Warnings implements [backends.Warner] with those of all members, by name, and what is wrong
// with the fleet that this process has joined.
func (s *Store) Warnings() []string {
	var all []string
	for _, m := range []*member{s.new, s.old} {
		if m.caps.Warner == nil {
			continue
		}
		for _, w := range m.caps.Warner.Warnings() {
			all = append(all, m.name+": "+w)
		}
	}
	if f := s.joined.Load(); f != nil {
		all = append(all, f.Stats().warnings()...)
	}
	return all
}

// Ping implements [backends.Pinger]: it asks the stores whose answer counts in the phase. An old
// store that only stands behind new does not make a service unready.
func (s *Store) Ping(ctx context.Context) error {
	phase := s.Phase()
	var errs []error
	if phase < PhaseNew {
		errs = append(errs, s.ping(ctx, s.old))
	}
	if phase > PhaseMirror {
		errs = append(errs, s.ping(ctx, s.new))
	}
	return errors.Join(errs...)
}

func (s *Store) ping(ctx context.Context, m *member) error {
	return m.wrap("ping", "", m.guard.Do(ctx, m.caps.Prompt, m.caps.Pinger.Ping))
}
