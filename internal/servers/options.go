package servers

import "errors"

// ErrNotInstalled is returned where a real server was asked for and its
// program is not in PATH.
var ErrNotInstalled = errors.New("servers: program not installed")

// The two answers of [Server.Kind].
const (
	Real     = "real"     // a process of its own
	Embedded = "embedded" // a stand-in inside this process
)

// Options says what to start. The zero value starts the program found in PATH
// with a fresh directory, or the embedded stand-in where there is no program.
type Options struct {
	// Args are handed to the program after our own, so they win:
	// "--maxmemory", "8mb". The embedded stand-ins honour a Redis password
	// ("--requirepass") and ignore the rest.
	Args []string

	// Dir is the working directory, where Redis keeps its files. Empty means a
	// temporary one that Close removes.
	Dir string

	// Binary is the program, a name or a path. Empty means redis-server, else
	// valkey-server; or memcached.
	Binary string

	// Embedded forces the stand-in inside this process.
	Embedded bool

	// MustBeReal refuses the stand-in: [ErrNotInstalled] instead.
	MustBeReal bool

	// orphan removes the tie that makes the kernel kill the server with this
	// process; tests set it to see that the tie is what does it.
	orphan bool
}
