package link

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Dedicated returns options for a client with one connection to node: same address, credentials,
// dialer and TLS as the user's client, nothing shared with it. When ctx ends the connection is
// closed, whatever the client is doing; a second one is refused, so that a connection that was
// lost cannot be replaced unnoticed. Where Sentinel says which server is the master, the connection
// is closed soon after it says another one: the old one may live on and know nothing of it.
func Dedicated(ctx context.Context, node *goredis.Options, t Timing) *goredis.Options {
	o := *node
	o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = 1, 0, 0, 0
	o.PipelinePoolSize = -1
	o.ConnMaxIdleTime, o.ConnMaxLifetime = -1, -1
	o.MaxRetries, o.DialerRetries = -1, 1
	o.ContextTimeoutEnabled = true
	for _, d := range []*time.Duration{&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout, &o.PoolTimeout} {
		if *d <= 0 || *d > t.DeadAfter {
			*d = t.DeadAfter
		}
	}
	o.Limiter, o.OnConnect = nil, nil
	o.ClientSideCache, o.ClientSideCacheConfig = nil, nil
	o.PushNotificationProcessor = nil
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	dial := o.Dialer
	if dial == nil {
		dial = o.NewDialer()
	}
	var dialed atomic.Bool
	o.Dialer = func(c context.Context, network, addr string) (net.Conn, error) {
		if dialed.Swap(true) {
			return nil, errSecond
		}
		c, cancel := context.WithCancel(c)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		cn, err := dial(c, network, addr)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = cn.Close() })
		if node.Addr == sentinels {
			go follow(ctx, cn, t, dial)
		}
		return cn, nil
	}
	return &o
}

// sentinels is the address of a client that asks Sentinel for it whenever it dials.
const sentinels = "FailoverClient"

// follow closes cn when dial leads elsewhere. It looks once a ping; the dialer of such a client
// tells where it leads by no other means than a connection. A dial that fails says nothing.
func follow(ctx context.Context, cn net.Conn, t Timing, dial func(context.Context, string, string) (net.Conn, error)) {
	for sleep(ctx, t.Ping) {
		ask, cancel := context.WithTimeout(ctx, t.DeadAfter)
		now, err := dial(ask, "tcp", sentinels)
		cancel()
		if err != nil {
			continue
		}
		moved := now.RemoteAddr().String() != cn.RemoteAddr().String()
		_ = now.Close()
		if moved {
			_ = cn.Close()
			return
		}
	}
}

// errSecond keeps the client from reconnecting by itself.
var errSecond = errors.New("the connection was lost")
