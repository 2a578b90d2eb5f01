package faultproxy

import "time"

// Fault is what is wrong with the network. The zero value is a good network.
type Fault struct {
	Up     Flow // client to server
	Down   Flow // server to client
	Refuse bool // new connections are reset at once
}

// Flow is what is wrong with one direction. The zero value passes everything.
type Flow struct {
	// Latency delays everything by this long, plus a random part of Jitter.
	// Order is kept, and what is under way together arrives together: a pipeline
	// is delayed once, not once per command.
	Latency, Jitter time.Duration

	// Stall passes nothing and resets nothing: a black hole. What is held back
	// is passed when the fault goes away, as TCP would send it again.
	Stall bool

	// CutAfter resets the connection once this many bytes have passed since the
	// fault was set, counted for each connection; 0 is off.
	CutAfter int64

	// Slice writes at most this many bytes at once; 0 is off, 1 sends single
	// bytes.
	Slice int

	// BytesPerSecond is the bandwidth of each connection; 0 is without limit.
	BytesPerSecond int

	// FlipEvery turns over one bit in every n-th byte since the fault was set,
	// counted for each connection; 0 is off.
	FlipEvery int64

	// Shut closes this direction and leaves the other one open. A connection
	// stays so when the fault goes away.
	Shut bool
}
