package stream

import (
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis/internal/talktest"
)

// kind is the stream to talktest.
var kind = talktest.Kind{
	Name: "stream", Place: "ns!log",
	New: func(c goredis.UniversalClient, cfg talktest.Config) (backends.Invalidator, error) {
		return New(c, Config{Namespace: cfg.Namespace, Key: cfg.Place, Ping: cfg.Ping, DeadAfter: cfg.DeadAfter, Timeout: cfg.Timeout})
	},
}

func TestStream_FollowsAClusterThatChanges(t *testing.T) { talktest.ClusterChanges(t, kind) }

func TestStream_FollowsASentinelFailover(t *testing.T) { talktest.SentinelFailover(t, kind) }

func TestStream_FollowsARestartedServer(t *testing.T) { talktest.Restart(t, kind) }

func TestStream_ABlackHoleIsNoticedAndRecoveredFrom(t *testing.T) { talktest.BlackHole(t, kind) }
