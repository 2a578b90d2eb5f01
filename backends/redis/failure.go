package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
)

// failure turns an error of the client into one of the contract. Redis.Nil is a miss; callers
// for which it means something else look before they call.
func failure(ctx context.Context, err error) error {
	var reply goredis.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, goredis.Nil):
		return backends.ErrMiss
	case errors.As(err, &reply):
		return refusal(err)
	case neverSent(err):
		return timely(ctx, fmt.Errorf("%w: %w", backends.ErrUnavailable, err))
	}
	return timely(ctx, err)
}

// ambiguous is failure for operations that are not idempotent: what may have reached the server
// without an answer is ErrUnknown.
func ambiguous(ctx context.Context, err error) error {
	var reply goredis.Error
	if err == nil || errors.As(err, &reply) || neverSent(err) {
		return failure(ctx, err)
	}
	return timely(ctx, fmt.Errorf("%w: %w", backends.ErrUnknown, err))
}

// refusal sorts what the server said. It said it instead of carrying the command out.
func refusal(err error) error {
	msg := err.Error()
	switch {
	case goredis.IsOOMError(err), strings.Contains(msg, "OOM command not allowed"):
		return fmt.Errorf("%w: %w", backends.ErrFull, err)
	case strings.Contains(msg, "WRONGTYPE"): // a script's error has it in the middle before 7.0
		return fmt.Errorf("%w: %w", backends.ErrWrongType, err)
	case goredis.IsAuthError(err), goredis.IsLoadingError(err), goredis.IsReadOnlyError(err),
		goredis.IsClusterDownError(err), goredis.IsMasterDownError(err), goredis.IsTryAgainError(err),
		goredis.IsMaxClientsError(err), goredis.IsNoReplicasError(err):
		return fmt.Errorf("%w: %w", backends.ErrUnavailable, err)
	}
	// A script that met one of them reports it inside its own error.
	for _, s := range [...]string{"LOADING ", "READONLY ", "CLUSTERDOWN ", "MASTERDOWN ", "NOAUTH ", "WRONGPASS ", "NOREPLICAS ", "BUSY ", "MOVED ", "ASK "} {
		if strings.Contains(msg, s) {
			return fmt.Errorf("%w: %w", backends.ErrUnavailable, err)
		}
	}
	return err
}

// neverSent reports whether err says that no connection could be had, so that the server has
// not seen the command.
func neverSent(err error) bool {
	var here unsent
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	return errors.As(err, &here) ||
		errors.As(err, &op) && op.Op == "dial" ||
		errors.Is(err, goredis.ErrPoolTimeout) || errors.Is(err, goredis.ErrPoolExhausted) ||
		errors.Is(err, goredis.ErrClosed) ||
		errors.Is(err, goredis.ErrAutoPipelineQueueFull) ||
		errors.As(err, &cert) || errors.As(err, &record) || errors.As(err, &alert) ||
		strings.HasPrefix(err.Error(), "redis: cluster has no nodes") ||
		strings.HasPrefix(err.Error(), "redis: all sentinels")
}

// unsent is why this package did not send a command.
type unsent struct{ error }

// Unwrap returns the reason.
func (u unsent) Unwrap() error { return u.error }

// timely adds ctx's own error to what the connection reports as a timeout of its own.
func timely(ctx context.Context, err error) error {
	cause := ended(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", cause, err)
}

// ended is ctx.Err, except that a deadline counts from its moment on: the one that a connection
// took from ctx may fire a little earlier than ctx does.
func ended(ctx context.Context) error {
	err := ctx.Err()
	if d, ok := ctx.Deadline(); err == nil && ok && !time.Now().Before(d) {
		return context.DeadlineExceeded
	}
	return err
}

// isSyntax reports whether the server does not know a form of a command. It looked no further.
func isSyntax(err error) bool {
	return err != nil && goredis.HasErrorPrefix(err, "syntax error")
}

// isNoScript reports whether the server does not have the script yet. It looked no further.
func isNoScript(err error) bool {
	return err != nil && goredis.HasErrorPrefix(err, "NOSCRIPT")
}
