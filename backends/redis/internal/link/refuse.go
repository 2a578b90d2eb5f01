package link

import (
	"errors"
	"fmt"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
)

// Refusal marks err as [backends.ErrUnsupported] if it is the word of the server, or of a proxy
// before it, that this user or this server cannot do what was asked, so that asking again is
// pointless. A server that is loading, full, being replaced or does not know the password (it may
// be changed in one place first) is a failure like a lost connection.
func Refusal(err error) error {
	var reply goredis.Error
	if !errors.As(err, &reply) || passing(err) {
		return err
	}
	return fmt.Errorf("%w: %w", backends.ErrUnsupported, err)
}

func passing(err error) bool {
	if goredis.IsLoadingError(err) || goredis.IsReadOnlyError(err) || goredis.IsClusterDownError(err) ||
		goredis.IsMasterDownError(err) || goredis.IsTryAgainError(err) || goredis.IsMaxClientsError(err) ||
		errors.Is(err, goredis.Nil) {
		return true
	}
	for _, p := range [...]string{"NOAUTH", "WRONGPASS", "MOVED ", "ASK ", "BUSY ", "UNKILLABLE",
		"OOM ", "MISCONF ", "NOREPLICAS "} {
		if goredis.HasErrorPrefix(err, p) {
			return true
		}
	}
	return false
}

// Refused reports whether err was marked by [Refusal].
func Refused(err error) bool { return errors.Is(err, backends.ErrUnsupported) }
