package bulk

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// scan implements endpoint. A cursor is "address run-id position": a server that was restarted
// hashes its keys anew, so that a position from before means nothing, and it is listed from the
// beginning.
func (e *redisEnd) scan(ctx context.Context, from string, f *Filter, yield func(batch) error) error {
	servers, err := e.masters(ctx)
	if err != nil {
		return err
	}
	first, pos, err := redisResume(ctx, servers, from)
	if err != nil {
		return err
	}
	for i := first; i < len(servers); i, pos = i+1, 0 {
		c := servers[i]
		id := c.Options().Addr + " " + runID(ctx, c)
		for {
			keys, next, err := c.Scan(ctx, pos, f.pattern(), redisScanCount).Result()
			if err != nil {
				return fmt.Errorf("SCAN on %s: %w", c.Options().Addr, err)
			}
			b := batch{server: i, keys: keys[:0]}
			for _, k := range keys {
				switch {
				case isSideKey(k):
					b.passed.Listed++
					b.passed.Fates[Lease]++
				case f.keeps(k):
					b.keys = append(b.keys, k)
				default:
					b.passed.Listed++
					b.passed.Fates[Filtered]++
				}
			}
			if pos = next; pos != 0 {
				b.next = id + " " + strconv.FormatUint(pos, 10)
			} else if i+1 < len(servers) {
				b.next = servers[i+1].Options().Addr + " ? 0"
			}
			if err := yield(b); err != nil {
				return err
			}
			if pos == 0 {
				break
			}
		}
	}
	return nil
}

func redisResume(ctx context.Context, servers []*redis.Client, from string) (i int, pos uint64, err error) {
	if from == "" {
		return 0, 0, nil
	}
	part := strings.Fields(from)
	if len(part) != 3 {
		return 0, 0, permanent{fmt.Errorf("%q is no place in a list of Redis keys", from)}
	}
	i = slices.IndexFunc(servers, func(c *redis.Client) bool { return c.Options().Addr == part[0] })
	if i < 0 {
		return 0, 0, permanent{fmt.Errorf("the copy cannot go on: %s is no longer a master; start again with a new state file", part[0])}
	}
	if runID(ctx, servers[i]) != part[1] {
		return i, 0, nil
	}
	pos, err = strconv.ParseUint(part[2], 10, 64)
	return i, pos, err
}

// runID names a run of a server; "-" where the server does not say.
func runID(ctx context.Context, c *redis.Client) string {
	text, _ := c.Info(ctx, "server").Result()
	_, rest, ok := strings.Cut(text, "run_id:")
	if id, _, _ := strings.Cut(rest, "\r"); ok && id != "" {
		return id
	}
	return "-"
}

// isSideKey reports whether key was made by redis.SideKey of package backends/redis: a lease or
// a refresh right beside another key.
func isSideKey(key string) bool {
	n := len(key) - 1
	return n > 7 && key[n] >= '0' && key[n] <= '2' && strings.HasSuffix(key[:n], "~hearth")
}
