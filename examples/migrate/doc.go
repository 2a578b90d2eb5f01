// Migrate shows a service moving from one cache server to another under load, three times over
// with the same requests:
//
//  1. without a migration, to see what the source of record has to bear anyway;
//  2. by a cold swap: the service is pointed at the new, empty server;
//  3. through package fallback, phase by phase: there, back again, and there for good.
//
// Run it with
//
//	go run ./examples/migrate
//
// It starts the servers it needs (redis-server and memcached from PATH; where they are not
// installed, stand-ins inside this process) and stops them when it is done. While it runs it
// shows how many reads reach the source; at the end it prints a chart, a table and, with -json,
// one line of JSON.
//
// # The service
//
// One process with a typed cache: an L1 small enough (about a thousand records) that the remote
// server matters, over that server. The source of record takes a few milliseconds, counts every
// load, and remembers every version of every record, so that each read can be held against what
// the source had: a read that began after a write was finished must not return an older version.
//
// The cold swap is a restart with another address: requests under way end first, and the L1
// begins empty as well. Through hearth nothing restarts and nothing waits; the phases change
// under the requests that are being answered.
//
// # The requests
//
// Every request reads one record. Some change a record first, as a hash of the seed, the key and
// the position of the request decides: 10 % save the very record they then read, 2.5 % edit
// another one and 0.5 % delete one, which one having been asked for before. A change is
// committed to the source, then the caches are told.
//
// Without a trace the records asked for are drawn from a Zipf distribution, and the old server
// begins with all that will be asked for. With -trace the requests are those of the file, in its order; its
// first part warms the old server and is not measured.
//
// # What is measured
//
// Loads are counted by the number of the request, not by the clock: a window holds the same
// requests in all three runs, whatever else the machine is doing. "Per second" is at the rate at
// which requests are sent (-rate). Windows are so wide that the run without a migration loads
// at least 1,600 times in each, which chance alone moves by 2.5 % (one standard deviation).
package main
