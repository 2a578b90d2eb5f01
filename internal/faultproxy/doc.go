// Package faultproxy is a TCP proxy that breaks the network on request, and
// counts what passes through it.
//
// A test puts it between a client and a real server, lets them work, and then
// switches a fault on and off while both keep running:
//
//	p, err := faultproxy.New(srv.Addr())
//	if err != nil {
//		return err
//	}
//	defer p.Close()
//	client := redis.NewClient(&redis.Options{Addr: p.Addr()})
//
//	p.Set(faultproxy.Fault{Down: faultproxy.Flow{Stall: true}}) // replies vanish
//	...
//	p.Clear() // and arrive again
//
// Up is the way from client to server, Down the way back. The faults:
//
//   - Flow.Latency, Jitter, BytesPerSecond, Slice: a slow or chopped-up link
//   - Flow.Stall: a black hole; connections stay open and nothing passes
//   - Flow.CutAfter: the connection is reset after so many more bytes
//   - Flow.FlipEvery: a bit is turned over in every n-th byte
//   - Flow.Shut: half-open; this direction is closed, the other one works
//   - Fault.Refuse: new connections are reset before a byte is read
//   - [Proxy.ResetAll]: all open connections are reset now
//   - [Proxy.SwallowReply]: exactly one reply is lost, its command was carried out
//
// Refuse accepts and resets at once, because the port has to stay ours; a test
// that needs "connection refused" from the kernel stops the server instead.
//
// [Proxy.RoundTrips] counts on the wire how often a client waited for an answer,
// so a test can hold a budget of round trips per operation; [Proxy.Commands]
// counts the commands in what clients sent, for Redis and for the text protocol
// of memcached.
package faultproxy
