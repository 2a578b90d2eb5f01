package importpicture

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.." // of the module, from here
	module = "github.com/hearthcache/hearth"
)

// edge is one import: which file of which package imports what.
type edge struct {
	pkg, file, imports string
}

// test reports whether the edge is in a test.
func (e edge) test() bool { return strings.HasSuffix(e.file, "_test.go") }

// judge says what is wrong with e; "" if nothing is.
func judge(e edge) string {
	r, ok := roomOf(e.pkg)
	if !ok {
		return fmt.Sprintf("%s: package %q has no room in the picture; give it one in rooms_test.go", e.file, e.pkg)
	}
	first, _, _ := strings.Cut(e.imports, "/")
	own, inModule := strings.CutPrefix(e.imports, module+"/")
	switch {
	case !inModule && !strings.Contains(first, "."): // the standard library
		return ""
	case e.test() && (inModule || testMayImport(e.imports)):
		return ""
	case inModule && (matches(own, r.imports...) || matches(own, r.packages...)):
		return ""
	case !inModule && matches(e.imports, r.clients...):
		return ""
	}
	return fmt.Sprintf("%s: package %s must not import %s (%s)", e.file, e.pkg, e.imports, r.why)
}

// testMayImport reports whether a test may import a third-party package: those of the test
// tools and all that some room has already.
func testMayImport(imports string) bool {
	for _, r := range rooms {
		if matches(imports, r.clients...) {
			return true
		}
	}
	return matches(imports, testClients...)
}

// edges returns every import of this module, and the Go files outside of packages.
func edges(t *testing.T) (all []edge, atRoot []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(name, root), string(filepath.Separator)))
		if d.IsDir() {
			return skip(name, rel)
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		if path.Dir(rel) == "." {
			atRoot = append(atRoot, rel)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imports, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			all = append(all, edge{pkg: path.Dir(rel), file: rel, imports: imports})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, atRoot
}

// skip leaves out what is no part of this module: nested modules, test data, hidden folders.
func skip(name, rel string) error {
	if rel == "" {
		return nil
	}
	base := path.Base(rel)
	if base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

func TestImports_FollowThePicture(t *testing.T) {
	all, atRoot := edges(t)
	if len(all) < 100 {
		t.Fatalf("found only %d imports: the walk does not see the module", len(all))
	}
	said := map[string]bool{}
	for _, e := range all {
		if wrong := judge(e); wrong != "" && !said[wrong] {
			said[wrong] = true
			t.Error(wrong)
		}
	}
	if len(atRoot) > 0 {
		t.Errorf("no Go file at the module root, but there are %v", atRoot)
	}
}

// Each of these would be a hole in the picture; a judge that lets one pass judges nothing.
func TestImports_ForbiddenOnesAreSeen(t *testing.T) {
	const code, test = "x.go", "x_test.go"
	for _, c := range []struct{ pkg, file, imports, why string }{
		{"tier", code, module + "/backends/redis", "the cache would know a server"},
		{"tier", code, module + "/backends/memcached", "the cache would know a server"},
		{"tier", code, module + "/fallback", "the cache would know a composite"},
		{"tier", code, module + "/writebehind", "nothing imports the writers"},
		{"tier", code, module + "/internal/servers/serverstest", "services would carry test servers"},
		{"tier", code, module + "/internal/checker", "services would carry what judges tests"},
		{"tier", code, "github.com/dgraph-io/ristretto/v2", "a second door to the L1's library"},
		{"fallback", code, module + "/tier", "bytes would know values"},
		{"fallback", code, module + "/writethrough", "nothing imports the writers"},
		{"fallback", code, module + "/backends/redis", "a composite would know a server"},
		{"backends", code, module + "/backends/memory", "the contract would know an implementer"},
		{"backends", code, "github.com/redis/go-redis/v9", "the contract would know a client"},
		{"backends/memcached", code, module + "/backends/redis", "leaves do not know each other"},
		{"backends/memcached", code, "github.com/redis/go-redis/v9", "a client outside its package"},
		{"backends/redis", code, "github.com/bradfitz/gomemcache/memcache", "a client outside its package"},
		{"backends/redis", code, "go.uber.org/goleak", "a test tool in a service"},
		{"backends/memory", code, module + "/backends/backendtest", "services would carry the suite"},
		{"codec", code, module + "/tier", "the picture would have a circle"},
		{"codec", code, "go.etcd.io/bbolt", "a library outside its package"},
		{"writebehind", code, "go.etcd.io/bbolt", "the queue would know its journal"},
		{"writebehind", code, "github.com/redis/go-redis/v9", "the queue would know a server"},
		{"writethrough", code, module + "/writebehind", "nothing imports the writers"},
		{"internal/guard", code, module + "/tier", "internal packages would know values"},
		{"internal/clock", code, "github.com/alicebob/miniredis/v2", "a stand-in in a service"},
		{"internal/clock", test, "github.com/testcontainers/testcontainers-go", "containers belong to a module of their own"},
		{"tier", test, "github.com/stretchr/testify/assert", "a dependency nobody has decided on"},
		{"somewhere", code, "fmt", "a package without a room"},
	} {
		if judge(edge{pkg: c.pkg, file: c.pkg + "/" + c.file, imports: c.imports}) == "" {
			t.Errorf("%s/%s may import %s: %s", c.pkg, c.file, c.imports, c.why)
		}
	}
}

func TestImports_NeededOnesPass(t *testing.T) {
	for _, e := range []edge{
		{"tier", "tier/get.go", module + "/backends/ristretto"},
		{"tier", "tier/get_test.go", module + "/backends/redis"},
		{"backends/redis/stream", "backends/redis/stream/x.go", module + "/backends/redis"},
		{"backends/redis/stream", "backends/redis/stream/x.go", "github.com/redis/go-redis/v9/push"},
		{"writebehind/redisstream", "writebehind/redisstream/x.go", "github.com/redis/go-redis/v9"},
		{"examples/migrate", "examples/migrate/main.go", module + "/fallback"},
		{"cmd/hearth", "cmd/hearth/main.go", "github.com/urfave/cli/v3"},
	} {
		if wrong := judge(e); wrong != "" {
			t.Error(wrong)
		}
	}
}

// The dependencies of a service that uses hearth are decided one by one, see docs/decisions.
func TestDependencies_AreThoseDecidedOn(t *testing.T) {
	decided := []string{
		"github.com/alicebob/miniredis/v2", "github.com/anishathalye/porcupine", "github.com/bradfitz/gomemcache",
		"github.com/cespare/xxhash/v2", "github.com/dgraph-io/ristretto/v2", "github.com/fxamacker/cbor/v2",
		"github.com/google/go-cmp", "github.com/klauspost/compress", "github.com/redis/go-redis/v9",
		"github.com/urfave/cli/v3", "go.etcd.io/bbolt", "go.uber.org/goleak", "golang.org/x/sync", "pgregory.net/rapid",
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	direct := directRequires(string(mod))
	if len(direct) < 5 {
		t.Fatalf("found only %d dependencies: go.mod is not read right", len(direct))
	}
	for _, d := range direct {
		if !slices.Contains(decided, d) {
			t.Errorf("go.mod requires %s: write down why in docs/decisions/0002-dependencies.md, then add it here", d)
		}
	}
	if strings.Contains(string(mod), "replace ") {
		t.Error("go.mod has a replace: go install refuses such a module")
	}
}

// directRequires lists the modules of the require directives that are not marked indirect.
func directRequires(mod string) (direct []string) {
	inside := false
	for line := range strings.Lines(mod) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "require ("):
			inside = true
		case line == ")":
			inside = false
		case strings.HasPrefix(line, "require "):
			line = strings.TrimPrefix(line, "require ")
			fallthrough
		case inside && line != "":
			if !strings.Contains(line, "// indirect") {
				direct = append(direct, strings.Fields(line)[0])
			}
		}
	}
	return direct
}
