package bus

import (
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis/internal/talktest"
)

// kind is the bus to talktest.
func kind(sharded bool) talktest.Kind {
	k := talktest.Kind{Name: "bus", Place: "ns!bus"}
	if sharded {
		k.Name = "sharded bus"
	}
	k.New = func(c goredis.UniversalClient, cfg talktest.Config) (backends.Invalidator, error) {
		return New(c, Config{Namespace: cfg.Namespace, Channel: cfg.Place, Sharded: sharded, Ping: cfg.Ping, DeadAfter: cfg.DeadAfter, Timeout: cfg.Timeout})
	}
	return k
}

func TestBus_FollowsAClusterThatChanges(t *testing.T) {
	talktest.ClusterChanges(t, kind(false), kind(true))
}

func TestBus_FollowsASentinelFailover(t *testing.T) { talktest.SentinelFailover(t, kind(false)) }

func TestBus_FollowsARestartedServer(t *testing.T) { talktest.Restart(t, kind(false)) }

func TestBus_ABlackHoleIsNoticedAndRecoveredFrom(t *testing.T) { talktest.BlackHole(t, kind(false)) }
