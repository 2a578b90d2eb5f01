package writethrough

import (
	"context"
	"errors"
	"fmt"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/guard"
	"github.com/hearthcache/hearth/tier"
)

var (
	// ErrRefused: the source does not want this write. Nothing has changed, and trying again is
	// pointless.
	ErrRefused = errors.New("cache: the source refused the write")

	// ErrFailed: the write was not carried out, since the source could not be asked or is sure
	// not to have done it. Trying again later is safe.
	ErrFailed = errors.New("cache: the write did not reach the source")
)

// Refused marks an error of a [Sink] as the source's own no; nil stays nil.
func Refused(err error) error { return marked(ErrRefused, err) }

// Failed marks an error of a [Sink] as a write that was certainly not carried out; nil stays nil.
func Failed(err error) error { return marked(ErrFailed, err) }

func marked(mark, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", mark, err)
}

// kind is which of the three err is. Unknown wins over the others: where several errors are
// joined, one of them may have changed the source.
func (c Config[V]) kind(err error) error {
	switch {
	case errors.Is(err, tier.ErrUnknown):
		return tier.ErrUnknown
	case errors.Is(err, ErrFailed):
		return ErrFailed
	case errors.Is(err, ErrRefused):
		return ErrRefused
	case c.Classify == nil:
		return tier.ErrUnknown
	}
	if k := c.Classify(err); k == ErrRefused || k == ErrFailed {
		return k
	}
	return tier.ErrUnknown
}

// outcome is err of one mutation, marked with what it means.
func (c Config[V]) outcome(err error) error {
	if err == nil {
		return nil
	}
	k := c.kind(err)
	if errors.Is(err, k) {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	return fmt.Errorf("%s: %w: %w", c.Name, k, err)
}

// verdict is what an error of the Sink says about the source's health.
func (c Config[V]) verdict(err error) guard.Verdict {
	var each *tier.WriteError
	if errors.As(err, &each) {
		worst := guard.Success
		for _, e := range each.Errs {
			if v := c.verdict(e); v == guard.Failure {
				worst = v
			}
		}
		return worst
	}
	switch {
	case err == nil:
		return guard.Success
	case errors.Is(err, context.Canceled), errors.Is(err, backends.ErrClosed):
		return guard.Ignore
	case c.kind(err) == ErrRefused:
		return guard.Success
	}
	return guard.Failure
}
