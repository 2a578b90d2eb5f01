package backends_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/hearthcache/hearth/backends"
)

var answers = []error{
	backends.ErrMiss, backends.ErrLeased, backends.ErrHeldOff, backends.ErrExists, backends.ErrConflict,
	backends.ErrLeaseLost, backends.ErrOlder, backends.ErrNotNumber, backends.ErrWrongType,
}

var refusals = []error{
	backends.ErrEmptyKey, backends.ErrInvalidTTL, backends.ErrTooLarge, backends.ErrBadToken,
	backends.ErrUnsupported, backends.ErrClosed,
}

var failures = []error{
	backends.ErrUnavailable, backends.ErrUnknown, io.EOF, context.Canceled, context.DeadlineExceeded,
}

func TestErrors_AreExactlyOneOfThreeKinds(t *testing.T) {
	for _, kind := range []struct {
		name            string
		errs            []error
		answer, refusal bool
	}{
		{"answer", answers, true, false},
		{"refusal", refusals, false, true},
		{"failure", failures, false, false},
	} {
		for _, err := range kind.errs {
			for _, e := range []error{err, fmt.Errorf("more: %w", err), &backends.Error{Op: "get", Store: "s", Key: "k", Err: err}} {
				if backends.IsAnswer(e) != kind.answer || backends.IsRefusal(e) != kind.refusal {
					t.Errorf("%v is not just a %s: answer %v, refusal %v", e, kind.name, backends.IsAnswer(e), backends.IsRefusal(e))
				}
			}
		}
	}
	if !backends.IsAnswer(nil) || backends.IsRefusal(nil) {
		t.Error("nil is an answer and no refusal")
	}
}

func TestErrors_MissesWithAReasonAreMisses(t *testing.T) {
	for _, err := range []error{backends.ErrLeased, backends.ErrHeldOff} {
		if !errors.Is(err, backends.ErrMiss) || err == backends.ErrMiss {
			t.Errorf("%v must be a miss, and a miss not be it", err)
		}
	}
	if errors.Is(backends.ErrLeased, backends.ErrHeldOff) {
		t.Error("leased is held off")
	}
	if !errors.Is(backends.ErrUnsupported, errors.ErrUnsupported) {
		t.Error("ErrUnsupported is not the standard library's")
	}
}

func TestError_NamesOperationStoreAndQuotedKey(t *testing.T) {
	for _, c := range []struct {
		name, want string
		err        *backends.Error
	}{
		{"key", `cache: get "a\nb" on redis-1: EOF`, &backends.Error{Op: "get", Store: "redis-1", Key: "a\nb", Err: io.EOF}},
		{"no key", `cache: ping on redis-1: EOF`, &backends.Error{Op: "ping", Store: "redis-1", Err: io.EOF}},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if !errors.Is(c.err, io.EOF) {
			t.Errorf("%s: does not unwrap", c.name)
		}
	}
}
