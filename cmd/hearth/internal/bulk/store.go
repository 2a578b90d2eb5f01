package bulk

import (
	"fmt"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
)

// OpenStore returns the store that a URL names, in the forms of [Open], and what closes it. It
// does not connect. Errors never hold a password.
func OpenStore(rawURL string) (backends.Store, func() error, error) {
	e, err := Open(rawURL, Options{})
	if err != nil {
		return nil, nil, err
	}
	switch end := e.endpoint.(type) {
	case *redisEnd:
		s, err := redis.New(end.client, redis.Config{})
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", e, err)
		}
		return s, end.close, nil
	case *memEnd:
		c, err := memcachedURL(schemeOf(rawURL), rawURL)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", e, err)
		}
		s, err := memcached.New(c)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", e, err)
		}
		return s, s.Close, nil
	}
	return nil, nil, fmt.Errorf("%s: no store", e)
}
