package memcached

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// ReplyError is a server's own complaint: it could be reached, and did not do what it was asked.
// Where the complaint has a sentinel in package backends, errors.Is finds that as well.
type ReplyError struct {
	Server string // its name in the configuration
	Line   string // "SERVER_ERROR out of memory storing object"
	is     error
}

// Error implements error.
func (e *ReplyError) Error() string { return fmt.Sprintf("memcached %s: %s", e.Server, e.Line) }

// Unwrap returns the sentinel, or nil.
func (e *ReplyError) Unwrap() error { return e.is }

// complaint finds a server's error line in text, and what it means.
func complaint(server, text string) (*ReplyError, bool) {
	at := -1
	for _, prefix := range [...]string{"SERVER_ERROR", "CLIENT_ERROR"} {
		if at = strings.Index(text, prefix); at >= 0 {
			break
		}
	}
	e := &ReplyError{Server: server}
	switch {
	case at >= 0:
		e.Line = text[at:]
	case strings.HasPrefix(text, "ERROR"), strings.Contains(text, `"ERROR`):
		e.Line = "ERROR"
	case strings.HasPrefix(text, "memcache: client error: "):
		e.Line = "CLIENT_ERROR " + strings.TrimPrefix(text, "memcache: client error: ")
	default:
		return nil, false
	}
	if i := strings.IndexAny(e.Line, "\r\n\\\""); i >= 0 {
		e.Line = e.Line[:i]
	}
	switch {
	case strings.Contains(e.Line, "too large"):
		e.is = backends.ErrTooLarge
	case strings.Contains(e.Line, "out of memory"):
		e.is = backends.ErrFull
	case strings.Contains(e.Line, "non-numeric"):
		e.is = backends.ErrNotNumber
	case e.Line == "ERROR":
		e.is = backends.ErrUnsupported
	}
	return e, true
}

// failure says what went wrong on the way to a server and back. Its first error names the class,
// if the caller needs one: ErrUnavailable when nothing was sent, ErrUnknown when a change was sent
// and the answer lost, the ctx's error when that ended the call.
func failure(ctx context.Context, server string, class, err error) error {
	if end := ended(ctx); end != nil && !errors.Is(err, end) {
		err = fmt.Errorf("%w (%w)", end, err)
	}
	if class == nil {
		return fmt.Errorf("memcached %s: %w", server, err)
	}
	return fmt.Errorf("memcached %s: %w: %w", server, class, err)
}

// ended returns why ctx is over, or nil. A deadline that has passed counts even if the timer of
// ctx has not run yet: the connection's may have been the first.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
		return context.DeadlineExceeded
	}
	return nil
}

// stale reports whether err is what a connection says that the server closed while it lay idle.
func stale(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.ECONNABORTED)
}
