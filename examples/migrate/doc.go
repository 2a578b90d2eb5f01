// Migrate shows a service moving from one cache server to another under load, three times over
// with the same requests:
//
//  1. without a migration, to see what the source of record has to bear anyway;
//  2. by a cold swap: the service is pointed at the new, empty server;
//  3. through package fallback, phase by phase: up from Old over Mirror and a ramp to New, down
//     again to Old, and up for good, to Retire.
//
// Run it with
//
//	go run ./examples/migrate
//
// It starts the servers it needs (redis-server and memcached from PATH; where they are not
// installed, stand-ins inside this process) and stops them when it is done. While it runs it
// shows how many reads reach the source; at the end it prints a chart, a table and, with -json,
// one line of JSON. The exit code is 1 if a read was stale, a request had no answer, or the source
// had more than 1.2 times its usual load at any moment; and, with the drawn requests, if the cold
// swap did not cost it 5 times that, since there was nothing to avoid then.
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
// which requests are sent (-rate). Every window, wherever it begins, is held against the same
// requests in the run without a migration, so chance has little to say: windows are so wide that
// they have 120 loads there (some 0.15 s at the usual rate), and two runs without a migration then
// differ by 5 % at most. None is wider than the shortest phase. With fewer than 50 loads in a window
// nothing could be said, so -requests is refused where it is too low for that.
//
// Before the last phase, in which the old server is not read any more, what only the old server
// has is copied in the background, as "hearth copy" does in production; the phase begins when that
// is done.
package main
