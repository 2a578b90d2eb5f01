package importpicture

import "strings"

// room is a place in the picture: the packages in it and what their code may import.
type room struct {
	// packages are the paths below the module; "a/..." is a and everything under it.
	packages []string
	// imports are the packages of this module that the room may import, besides itself.
	imports []string
	// clients are the third-party packages that the room may import.
	clients []string
	why     string
}

// rooms is the picture, outermost first. The first room that has a package counts.
var rooms = []room{
	{
		packages: []string{"examples/...", "cmd/..."},
		imports:  []string{"..."},
		clients:  []string{redisClient, memcachedClient, cliLibrary, hash, "go.etcd.io/bbolt/..."},
		why:      "programs put everything together",
	},
	{
		packages: []string{"writebehind/redisstream/..."},
		imports:  []string{"writebehind", "tier", "codec", "backends", "backends/redis", productionInternal},
		clients:  []string{redisClient, hash},
		why:      "the journal that speaks to Redis",
	},
	{
		packages: []string{"writebehind/bolt/..."},
		imports:  []string{"writebehind", "tier", "codec", "backends", productionInternal},
		clients:  []string{"go.etcd.io/bbolt/..."},
		why:      "the journal in a file",
	},
	{
		packages: []string{"writebehind/..."},
		imports:  []string{"tier", "codec", "backends", productionInternal},
		why:      "a writer knows the values of the cache and no server",
	},
	{
		packages: []string{"writethrough/..."},
		imports:  []string{"tier", "codec", "backends", productionInternal},
		why:      "a writer knows the values of the cache and no server",
	},
	{
		packages: []string{"tier/boltoutbox"},
		imports:  []string{"tier", "backends", productionInternal},
		clients:  []string{"go.etcd.io/bbolt/..."},
		why:      "owed invalidations in a file",
	},
	{
		packages: []string{"tier"},
		imports:  []string{"backends", "backends/ristretto", "codec", productionInternal},
		clients:  []string{hash},
		why:      "the cache knows stores by their contract; its L1 is the one it is built around",
	},
	{
		packages: []string{"codec"},
		imports:  []string{"backends", productionInternal},
		clients:  []string{"github.com/klauspost/compress/...", "github.com/fxamacker/cbor/v2", hash},
		why:      "values to bytes and back; it knows no server and no cache",
	},
	{
		packages: []string{"fallback/..."},
		imports:  []string{"backends", "codec", productionInternal}, // codec: the header of a frame, for its lifetime
		clients:  []string{hash},
		why:      "a store made of stores; it knows neither values nor servers",
	},
	{
		packages: []string{"backends/backendtest"},
		imports:  []string{"backends", "backends/memory", productionInternal},
		clients:  []string{"pgregory.net/rapid"},
		why:      "the conformance suite knows the contract alone",
	},
	{
		packages: []string{"backends/redis/internal/talktest"},
		imports:  []string{"backends", "backends/memory", "backends/redis/...", "tier", "internal/..."},
		clients:  []string{redisClient, "go.uber.org/goleak"},
		why:      "tests of sources, through whole caches and on real servers",
	},
	{
		packages: []string{"backends/redis/..."},
		imports:  []string{"backends", productionInternal},
		clients:  []string{redisClient, hash},
		why:      "one package per client",
	},
	{
		packages: []string{"backends/memcached/..."},
		imports:  []string{"backends", productionInternal},
		clients:  []string{memcachedClient, hash},
		why:      "one package per client",
	},
	{
		packages: []string{"backends/ristretto/..."},
		imports:  []string{"backends", productionInternal},
		clients:  []string{"github.com/dgraph-io/ristretto/v2/..."},
		why:      "one package per client",
	},
	{
		packages: []string{"backends/coalesce"},
		imports:  []string{"backends", productionInternal},
		why:      "a store around a store knows the contract alone",
	},
	{
		packages: []string{"backends/memory/..."},
		imports:  []string{"backends", productionInternal},
		why:      "the reference store needs nobody",
	},
	{
		packages: []string{"backends"},
		imports:  []string{productionInternal},
		why:      "the contract knows none of its implementers",
	},
	{
		packages: []string{"internal/servers/..."},
		imports:  []string{"internal/..."},
		clients:  []string{"github.com/alicebob/miniredis/v2/..."},
		why:      "test servers, and what stands in for them",
	},
	{
		packages: []string{"internal/..."},
		imports:  []string{"internal/...", "backends"},
		clients:  []string{hash, "github.com/anishathalye/porcupine"},
		why:      "what knows neither values nor servers, nor chooses among stores",
	},
}

// Third-party packages that several rooms may import.
const (
	redisClient     = "github.com/redis/go-redis/v9/..."
	memcachedClient = "github.com/bradfitz/gomemcache/..."
	cliLibrary      = "github.com/urfave/cli/v3/..."
	hash            = "github.com/cespare/xxhash/v2"
)

// productionInternal is internal/... without the packages that exist for tests.
const productionInternal = "internal, for production"

// testPackages are those; code that ends up in a service must not import them.
var testPackages = []string{
	"internal/servers/...", "internal/faultproxy/...", "internal/memcachedtest/...", "internal/importpicture/...", "internal/readme/...", "internal/checker/...", "internal/mainjob/...", "internal/stall/...",
	"backends/redis/internal/sinktest/...", "backends/redis/internal/talktest/...",
	"backends/backendtest/...",
}

// testClients are what _test.go files may import besides the clients of all rooms.
var testClients = []string{
	"go.uber.org/goleak", "github.com/google/go-cmp/...", "pgregory.net/rapid", "golang.org/x/sync/...",
	"github.com/anishathalye/porcupine",
}

// matches reports whether path is in one of patterns.
func matches(path string, patterns ...string) bool {
	for _, p := range patterns {
		if p == productionInternal {
			if matches(path, "internal/...") && !matches(path, testPackages...) {
				return true
			}
			continue
		}
		tree, ok := strings.CutSuffix(p, "...")
		if path == p || ok && (tree == "" || strings.HasPrefix(path+"/", tree)) {
			return true
		}
	}
	return false
}

// roomOf returns the room of a package.
func roomOf(pkg string) (room, bool) {
	for _, r := range rooms {
		if matches(pkg, r.packages...) {
			return r, true
		}
	}
	return room{}, false
}
