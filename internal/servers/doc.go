// Package servers starts real cache servers on free loopback ports and ends
// exactly the ones it started.
//
// Tests and examples need a Redis or a memcached that they may stop, kill,
// freeze and bring back on the same port. [StartRedis], [StartMemcached],
// [StartRedisCluster] and [StartSentinel] give them one:
//
//	srv, err := servers.StartRedis(servers.Options{Args: []string{"--maxmemory", "8mb"}})
//	if err != nil {
//		return err
//	}
//	defer srv.Close()
//	client := redis.NewClient(&redis.Options{Addr: srv.Addr()})
//
// Where the server program is not installed, a stand-in inside this process
// answers instead, and [Server.Kind] says so: "real" or "embedded". A caller
// whose claim only a real server can support sets [Options.MustBeReal] and
// gets [ErrNotInstalled].
//
// How it stays safe to use:
//
//   - A server counts as started once the process with our process id answers
//     on the port: a stranger that took the port first is never mistaken for it.
//   - Ports are taken from below the range the system uses for outgoing
//     connections, so a client that dials a dead server cannot connect to itself
//     and thereby block the restart.
//   - Signals go to the child by its process handle, never by name.
//   - On Linux the kernel kills the children when this process dies, whatever
//     the way it dies.
//
// The forms for tests, which register their own clean-up, are in package
// serverstest; this package does not import testing, so examples stay small.
package servers
