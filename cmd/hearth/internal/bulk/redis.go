package bulk

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	redisScanCount = 1000
	redisMaxValue  = 512 << 20 // proto-max-bulk-len
)

// redisSession is what a worker uses; the client has the connections.
type redisSession struct{ *redisEnd }

func (redisSession) close() {}

// redisEnd is a Redis server or cluster.
type redisEnd struct {
	client redis.UniversalClient
	one    *redis.Client // nil for a cluster
}

func openRedis(scheme, rawURL string, o Options) (endpoint, error) {
	rawURL, cluster := redisURL(scheme, rawURL)
	dial := min(o.Timeout, 3*time.Second)
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if cluster {
		c, err := redis.ParseClusterURL(rawURL)
		if err != nil {
			return nil, err
		}
		c.ContextTimeoutEnabled, c.MaxRetries, c.DialerRetries = true, -1, 1
		c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.PoolTimeout = dial, o.Timeout, o.Timeout, o.Timeout
		c.PoolSize, c.MaintNotificationsConfig = o.Workers+2, quiet
		return &redisEnd{client: redis.NewClusterClient(c)}, nil
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Query().Has("master_name") {
		c, err := redis.ParseFailoverURL(rawURL)
		if err != nil {
			return nil, err
		}
		c.ContextTimeoutEnabled, c.MaxRetries, c.DialerRetries = true, -1, 1
		c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.PoolTimeout = dial, o.Timeout, o.Timeout, o.Timeout
		c.PoolSize = o.Workers + 2
		client := redis.NewFailoverClient(c)
		return &redisEnd{client: client, one: client}, nil
	}
	c, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, err
	}
	c.ContextTimeoutEnabled, c.MaxRetries, c.DialerRetries = true, -1, 1
	c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.PoolTimeout = dial, o.Timeout, o.Timeout, o.Timeout
	c.PoolSize, c.MaintNotificationsConfig = o.Workers+2, quiet
	client := redis.NewClient(c)
	return &redisEnd{client: client, one: client}, nil
}

// redisURL turns redis+cluster://h1,h2 into the form that the client knows, and tells whether the
// URL names a cluster.
func redisURL(scheme, rawURL string) (string, bool) {
	plain, cluster := strings.CutSuffix(scheme, "+cluster")
	if !cluster {
		return rawURL, strings.Contains(rawURL, "?addr=") || strings.Contains(rawURL, "&addr=")
	}
	_, rest, _ := strings.Cut(rawURL, "://")
	head, query, _ := strings.Cut(rest, "?")
	login, hosts := "", head
	if at := strings.LastIndexByte(head, '@'); at >= 0 {
		login, hosts = head[:at+1], head[at+1:]
	}
	list := strings.Split(strings.TrimSuffix(hosts, "/"), ",")
	for _, h := range list[1:] {
		query += "&addr=" + h
	}
	if query = strings.TrimPrefix(query, "&"); query != "" {
		query = "?" + query
	}
	return plain + "://" + login + list[0] + query, true
}

func (e *redisEnd) session() session { return redisSession{e} }
func (e *redisEnd) keepsFlags() bool { return false }

// remarks implements endpoint: what SCAN promises needs none.
func (e *redisEnd) remarks() []string { return nil }

func (e *redisEnd) close() error { return e.client.Close() }

func (e *redisEnd) ping(ctx context.Context) error {
	if e.one != nil {
		return e.one.Ping(ctx).Err()
	}
	return e.client.(*redis.ClusterClient).ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		return c.Ping(ctx).Err()
	})
}

// masters returns the servers that hold keys, in a stable order.
func (e *redisEnd) masters(ctx context.Context) ([]*redis.Client, error) {
	if e.one != nil {
		return []*redis.Client{e.one}, nil
	}
	var mu sync.Mutex
	var all []*redis.Client
	err := e.client.(*redis.ClusterClient).ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, c)
		return nil
	})
	slices.SortFunc(all, func(a, b *redis.Client) int { return strings.Compare(a.Options().Addr, b.Options().Addr) })
	return all, err
}

func (e *redisEnd) estimate(ctx context.Context) int64 {
	n, _ := e.client.DBSize(ctx).Result() // summed over a cluster
	return n
}
