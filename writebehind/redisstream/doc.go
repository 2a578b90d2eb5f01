// Package redisstream keeps the journal of a write-behind queue in Redis Streams, for several
// processes: each may append, and each key has one process at a time that delivers.
//
//	client := redis.NewClient(&redis.Options{Addr: "queue:6379", ContextTimeoutEnabled: true, MaxRetries: -1})
//	journal, err := redisstream.Open(ctx, redisstream.Config{Client: client, Name: "users"})
//	w, err := writebehind.New(writebehind.Config[User]{Sink: sink, Journal: journal})
//
// Records go to one of a fixed number of partition streams, by a hash of the key. A process owns
// a partition through a lease with a token of its own; every read, acknowledgement and removal
// is a script that checks the token first, so that a process that was paused can neither take
// records from its successor nor settle them. What a sink is doing at that moment cannot be
// called back: its context ends with the lease, and Op.Seq lets it refuse what is older. When
// the owner dies, another process claims what it had read and not settled, in order, once the
// lease has run out.
//
// Accepted is as durable as the server: appendonly yes and appendfsync always survive kill -9
// and a power failure of the server; everysec is a weaker
// level, which may lose a second, and no AOF a weaker one still; Warnings of the journal and of
// its Writer say so. The server must not evict
// (maxmemory-policy noeviction), and Open refuses one that says it does. Streams are never trimmed
// by length, which would drop what waits; Config.MaxLen refuses new writes instead.
//
// Each partition that a process owns keeps a connection in a read that blocks: the client's
// PoolSize is to be larger than Config.Partitions, or commits and leases would wait for them; Open
// refuses another one, and a client that ignores deadlines (ContextTimeoutEnabled false).
//
// All keys of one queue share a hash tag, so it lives in one slot of a cluster. Use several
// names to spread load. Needs Redis 7.
package redisstream
