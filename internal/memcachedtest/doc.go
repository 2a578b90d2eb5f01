// Package memcachedtest is a small memcached inside the test process.
//
// It exists for two uses a real memcached cannot serve: tests in a
// testing/synctest bubble, where no real socket may take part ([Server.Dial]
// gives one end of a net.Pipe), and machines without memcached
// ([Server.Listen] serves TCP).
//
//	srv := memcachedtest.New(memcachedtest.Config{})
//	defer srv.Close()
//	client := memcache.New("127.0.0.1:11211")
//	client.DialContext = func(context.Context, string, string) (net.Conn, error) {
//		return srv.Dial()
//	}
//
// It speaks the text protocol (get gets gat gats set add replace append prepend
// cas incr decr delete touch flush_all stats version verbosity quit), the meta
// commands (mg ms md ma mn me), lru_crawler metadump, and the text form of
// authentication. Values may hold any bytes; requests may be pipelined.
//
// What it answers is held equal to a real memcached 1.6.18 by a test that sends
// random streams of commands to both. Known differences:
//
//   - Nothing is ever evicted: there is no limit on the sum of the items, only on
//     each item.
//   - Time is exact by default; [Config.Tick] brings back the whole-second clock
//     of the real server, with which "1 second" lasts between 0 and 1 second.
//   - A number that becomes shorter by incr or decr is always padded with blanks;
//     the real server does not pad while a pipelined get of the key is unsent.
//   - incr of a value of blanks only is refused; the real server reads beyond it.
//   - lru_crawler metadump may stand anywhere in a pipeline; the real server
//     refuses it behind some commands and drops what comes behind it.
//   - ms accepts the flag E (store under a given cas id), which memcached has
//     since 1.6.23.
package memcachedtest
