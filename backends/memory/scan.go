package memory

import (
	"context"
	"slices"
)

// scanBatch is how many keys a batch of Scan holds: about what Redis gives for COUNT 100.
const scanBatch = 100

// Scan implements [backends.Scanner]. Keys come in their byte order, and the cursor is the last
// key of the batch before, so that it is good for any time to come.
func (s *Store) Scan(ctx context.Context, cursor string, yield func(keys []string, next string) error) error {
	keys := s.keysAfter(cursor)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch := keys[:min(scanBatch, len(keys))]
		keys = keys[len(batch):]
		next := ""
		if len(keys) > 0 {
			next = batch[len(batch)-1]
		}
		if err := yield(slices.Clip(batch), next); err != nil {
			return err
		}
		if next == "" {
			return nil
		}
	}
}

func (s *Store) keysAfter(cursor string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	keys := make([]string, 0, len(s.items))
	for key, e := range s.items {
		if key > cursor && !e.expired(now) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
