package readme

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documents are the texts that are held to the tree.
func documents(t *testing.T) (names []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			names = append(names, filepath.ToSlash(strings.TrimPrefix(f, filepath.Join("../..")+string(filepath.Separator))))
		}
	}
	if len(names) < 5 {
		t.Fatalf("found only the documents %v", names)
	}
	return names
}

var (
	block     = regexp.MustCompile("(?s)```.*?```")
	link      = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	testName  = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9_]*)`")
	functions = regexp.MustCompile("`([a-z0-9_/]+\\.go):((?:[A-Za-z0-9_]+(?:, )?)+)`")
)

func TestDocuments_LinksLeadToFiles(t *testing.T) {
	for _, doc := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(block.ReplaceAllString(read(t, doc), ""), -1) {
			to := filepath.Join("../..", filepath.Dir(doc), m[1])
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
			}
		}
	}
}

// A promise whose test has gone is not held any more; the document must not say that it is.
func TestDocuments_NameTestsThatExist(t *testing.T) {
	have := testFunctions(t)
	said := 0
	for _, doc := range documents(t) {
		for _, m := range testName.FindAllStringSubmatch(read(t, doc), -1) {
			said++
			if !have[m[1]] {
				t.Errorf("%s names %s, which is not there", doc, m[1])
			}
		}
	}
	if said < 10 {
		t.Errorf("found only %d names of tests: they are not read right", said)
	}
}

func TestDocuments_NameFunctionsThatExist(t *testing.T) {
	said := 0
	for _, doc := range documents(t) {
		for _, m := range functions.FindAllStringSubmatch(read(t, doc), -1) {
			code, err := os.ReadFile(filepath.Join("../..", m[1]))
			if err != nil {
				t.Errorf("%s names %s, which is not there", doc, m[1])
				continue
			}
			for _, name := range strings.Split(m[2], ", ") {
				said++
				if !regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|type )` + name + `[\[( ]`).Match(code) {
					t.Errorf("%s names %s:%s, which is not there", doc, m[1], name)
				}
			}
		}
	}
	if said < 10 {
		t.Errorf("found only %d names of functions: they are not read right", said)
	}
}

// testFunctions are the tests, fuzz targets and benchmarks of all modules.
func testFunctions(t *testing.T) map[string]bool {
	t.Helper()
	have := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]+)\(`)
	err := filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return filepath.SkipDir
		case !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		code, err := os.ReadFile(name)
		for _, m := range declared.FindAllStringSubmatch(string(code), -1) {
			have[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return have
}
