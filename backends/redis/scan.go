package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
)

// scanCount is how many buckets of its table the server visits per call: about a millisecond.
const scanCount = 1000

// scanner tells which servers hold keys.
type scanner interface {
	servers(ctx context.Context) ([]*goredis.Client, error)
}

type single struct{ client *goredis.Client }

func (s single) servers(context.Context) ([]*goredis.Client, error) {
	return []*goredis.Client{s.client}, nil
}

type masters struct{ client *goredis.ClusterClient }

func (m masters) servers(ctx context.Context) ([]*goredis.Client, error) {
	var mu sync.Mutex
	var all []*goredis.Client
	err := m.client.ForEachMaster(ctx, func(_ context.Context, c *goredis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, c)
		return nil
	})
	slices.SortFunc(all, func(a, b *goredis.Client) int {
		return strings.Compare(a.Options().Addr, b.Options().Addr)
	})
	return all, err
}

// Scan implements [backends.Scanner] by SCAN, over the masters of a cluster one after another.
// It lists keys that hold strings, without side keys; keys under a lease are among them. A
// cursor names its server: it is refused when that is no longer a master of the cluster. While
// slots move between masters, keys of these slots may be missed. Servers before 6.0 cannot tell
// strings from other types and refuse.
func (s *Store) Scan(ctx context.Context, cursor string, yield func(keys []string, next string) error) error {
	if s.scan == nil {
		return fmt.Errorf("%w: scanning needs the client itself", backends.ErrUnsupported)
	}
	servers, err := s.scan.servers(ctx)
	if err != nil {
		return failure(ctx, err)
	}
	i, pos, err := resume(servers, cursor)
	if err != nil {
		return err
	}
	for ; i < len(servers); i, pos = i+1, 0 {
		for more := true; more; more = pos != 0 {
			var keys []string
			keys, pos, err = servers[i].ScanType(ctx, pos, "", scanCount, "string").Result()
			if err != nil {
				return failure(ctx, err)
			}
			next := ""
			switch {
			case pos != 0:
				next = position(servers[i], pos)
			case i+1 < len(servers):
				next = position(servers[i+1], 0)
			}
			keys = slices.DeleteFunc(keys, isSideKey)
			if len(keys) == 0 && next != "" {
				continue
			}
			if err := yield(keys, next); err != nil {
				return err
			}
		}
	}
	return nil
}

// position is a cursor: the server's address, and its own cursor.
func position(c *goredis.Client, pos uint64) string {
	return c.Options().Addr + "#" + strconv.FormatUint(pos, 10)
}

// resume finds the place that cursor names.
func resume(servers []*goredis.Client, cursor string) (i int, pos uint64, err error) {
	if cursor == "" {
		return 0, 0, nil
	}
	at := strings.LastIndexByte(cursor, '#')
	pos, err = strconv.ParseUint(cursor[at+1:], 10, 64)
	if at < 0 || err != nil {
		return 0, 0, fmt.Errorf("redis: %q is not a scan cursor", cursor)
	}
	i = slices.IndexFunc(servers, func(c *goredis.Client) bool { return c.Options().Addr == cursor[:at] })
	if i < 0 {
		return 0, 0, fmt.Errorf("redis: the scan cannot go on, %s is not a master any more; start again", cursor[:at])
	}
	return i, pos, nil
}
