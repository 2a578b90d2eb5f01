package fallback

import (
	"context"
	"errors"
	"strings"
)

var errCursor = errors.New("fallback: not a cursor of this Scan")

// Where a cursor goes on, in front of the member's own.
const (
	scanNew = "n"
	scanOld = "o"
)

// Scan implements [backends.Scanner]: where new answers for some keys its keys come first, then
// those of old, so a key that is in both comes twice. In PhaseRetire old is not read.
func (s *Store) Scan(ctx context.Context, cursor string, yield func(keys []string, next string) error) error {
	where, inner := scanNew, ""
	if s.Phase() <= PhaseMirror {
		where = scanOld
	}
	if cursor != "" {
		where, inner = cursor[:1], cursor[1:]
	}
	switch where {
	case scanNew:
		retired := s.Phase() == PhaseRetire
		err := s.new.caps.Scanner.Scan(ctx, inner, func(keys []string, next string) error {
			switch {
			case next == "" && retired:
				return yield(keys, "")
			case next == "":
				return yield(keys, scanOld)
			}
			return yield(keys, scanNew+next)
		})
		if err != nil || retired {
			return s.new.wrap("scan", "", err)
		}
		return s.scanOld(ctx, "", yield)
	case scanOld:
		return s.scanOld(ctx, inner, yield)
	}
	return errCursor
}

func (s *Store) scanOld(ctx context.Context, cursor string, yield func(keys []string, next string) error) error {
	err := s.old.caps.Scanner.Scan(ctx, cursor, func(keys []string, next string) error {
		if next != "" {
			next = scanOld + next
		}
		ours, _ := s.ours(keys)
		return yield(ours, next)
	})
	return s.old.wrap("scan", "", err)
}

// ours returns the keys of old as the caller knows them, and whether all of them are known.
func (s *Store) ours(keys []string) (ours []string, all bool) {
	if s.cfg.FromOldKey == nil {
		return keys, true
	}
	ours = make([]string, 0, len(keys))
	for _, k := range keys {
		if key, ok := s.cfg.FromOldKey(k); ok {
			ours = append(ours, key)
		}
	}
	return ours, len(ours) == len(keys)
}

// PrefixKeys returns an OldKey that puts prefix in front of every key, and its inverse.
func PrefixKeys(prefix string) (oldKey func(key string) string, fromOldKey func(oldKey string) (string, bool)) {
	return func(key string) string { return prefix + key },
		func(oldKey string) (string, bool) {
			key, ok := strings.CutPrefix(oldKey, prefix)
			return key, ok && key != ""
		}
}
