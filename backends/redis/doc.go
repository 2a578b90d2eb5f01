// Package redis keeps a cache's remote tier on a Redis or Valkey server: standalone, found
// through Sentinel, or a Cluster. It works on the client you have:
//
//	client := goredis.NewClient(redis.Options("cache.internal:6379"))
//	store, err := redis.New(client, redis.Config{})
//
// or makes one that nobody else needs:
//
//	store, err := redis.OpenStore("redis://cache.internal:6379", redis.Config{})
//	defer store.Close()
//
// # The client
//
// A client made with the defaults of go-redis does not suit a cache: it ignores callers'
// deadlines, waits five seconds for a server that hangs, dials a dead one five times, and sends
// a command whose answer was lost again, which counts an increment twice. [Options],
// [ClusterOptions], [FailoverOptions], [Open] and [OpenStore] make a client that does none of this;
// [Warnings] tells what is wrong with another one.
//
// Operations that are not idempotent are sent at most once whatever the client's settings are.
// One whose answer was lost is [backends.ErrUnknown]; one for which no connection could be had,
// or which the server refused since it is loading, read-only or without its cluster, is
// [backends.ErrUnavailable] and was not carried out. Everything else that the server says
// instead of doing it ("OOM command not allowed", say) comes back as it is.
//
// A Ring is refused: see [New].
//
// # What it sends
//
//	Get             GET k
//	Set, Delete     SET k v PX ms · DEL k
//	GetMany         MGET on one server, else a pipeline that the client splits by node
//	GetTTL          GET and PTTL in one pipeline
//	Acquire         SET k token NX GET PX ms, or a script on servers that refuse it
//	Fill            SET k v IFEQ token PX ms on servers that know it, else a script
//	Seize, DeleteHold                    SET k mark PX ms
//	Add, CompareAndSwap, SetNewer, Increment, Touch, Release    a script
//	AcquireRefresh  SET {k}~hearth1 token NX PX ms
//
// Each is one round trip. Scripts are called by their hash; a server that does not know one yet
// gets the text in a second round trip. Which forms of SET the server knows is found out at the
// first use. The least rights of an ACL user are
// ~* +get +set +del +mget +pttl +evalsha +eval +exists +getrange +pexpire +persist +incrby
// +ping +scan +client|setinfo, and +cluster|slots +asking on a Cluster. Side keys
// begin with '{': a user that is confined to the keys ns:* needs {ns:* too.
//
// Where EVALSHA and EVAL are refused, Fill and Release go by WATCH, GET and MULTI, which needs
// +watch +unwatch +multi +exec; what else is a script fails. Where those are refused too, no lease
// is taken. Store.Warnings says which it is.
//
// # Versions
//
// A version is the value itself: compare-and-swap compares bytes, above 64 KiB their SHA-1. Two
// values with the same bytes are the same version. Frames of hearth carry the time they were
// made and so differ; values of other clients may repeat.
//
// # Leases
//
// A lease is 18 bytes under the data key, unique per acquisition; a delete removes it with the
// key, and a fill compares it. Clients that know nothing of leases would see these bytes while
// somebody loads; [Separate] keeps them under another key in the same slot. See [LeaseKey].
//
// Redis answers before its replicas know. A failover may lose the last writes, deletes and
// leases among them; what was deleted then lives on until its TTL ends.
package redis
