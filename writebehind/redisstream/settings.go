package redisstream

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// mayEvict is an error where the server says that it evicts keys without a TTL, which is what the
// streams are. Where it does not say, the operator has to know.
func mayEvict(ctx context.Context, client redis.UniversalClient) error {
	info, err := client.Info(ctx, "memory").Result()
	if err != nil {
		return nil
	}
	said := map[string]string{}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		said[name] = value
	}
	if policy := said["maxmemory_policy"]; strings.HasPrefix(policy, "allkeys-") && said["maxmemory"] != "0" {
		return fmt.Errorf("writebehind/redisstream: the server evicts accepted writes when its memory is full (maxmemory-policy %s): use noeviction", policy)
	}
	return nil
}

// checkClient refuses settings with which the queue would stand still. Of clients that are neither
// standalone nor of a cluster the settings are not known.
func checkClient(client redis.UniversalClient, partitions int) error {
	var pool int
	var deadlines bool
	switch c := client.(type) {
	case *redis.Client:
		pool, deadlines = c.Options().PoolSize, c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		pool, deadlines = c.Options().PoolSize, c.Options().ContextTimeoutEnabled
	default:
		return nil
	}
	if pool <= partitions {
		return fmt.Errorf("writebehind/redisstream: PoolSize of Client is %d, not more than Partitions (%d), each of which keeps a connection: commits and leases would wait for them", pool, partitions)
	}
	if !deadlines {
		return fmt.Errorf("writebehind/redisstream: ContextTimeoutEnabled of Client is false: a server that hangs would hold callers and leases beyond their deadlines")
	}
	return nil
}

// durability says by what the server falls short of "accepted is on disk", nil by nothing.
func durability(ctx context.Context, client redis.UniversalClient) []string {
	said, err := client.ConfigGet(ctx, "append*").Result()
	switch {
	case err != nil || said["appendonly"] == "":
		return []string{"the server does not tell its settings (CONFIG GET is refused): unless appendonly is yes and appendfsync is always, it can lose accepted writes"}
	case said["appendonly"] != "yes":
		return []string{"appendonly is " + said["appendonly"] + ": a server that dies loses accepted writes"}
	case said["appendfsync"] != "always":
		return []string{"appendfsync is " + said["appendfsync"] + ": a power failure of the server loses accepted writes (about the last second with everysec, more with no)"}
	}
	return nil
}

// Warnings returns how the server, when the journal was opened, fell short of keeping all that is
// accepted, one sentence each; none means that it syncs every write. Nothing is sent.
func (j *Journal) Warnings() []string { return slices.Clone(j.warnings) }
