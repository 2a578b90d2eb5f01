package backendtest

import (
	"errors"
	"fmt"
)

var scanCases = []Case{
	{
		Name:  "scan/ListsWhatWasThereAllTheTime",
		Why:   "a bulk copy that misses a key leaves it cold on the new server",
		needs: needScanner,
		run: func(e *env) {
			want := e.fill(250)
			if got := e.scan("", nil); got != nil {
				e.Fatalf("scan: %v", got)
			}
			seen := map[string]bool{}
			e.ok(e.scan("", func(keys []string, _ string) error {
				for _, k := range keys {
					seen[k] = true
				}
				return nil
			}), "scan")
			for _, k := range want {
				if !seen[k] {
					e.Fatalf("scan: %q is missing", k)
				}
			}
		},
	},
	{
		Name:  "scan/ResumesFromItsCursor",
		Why:   "a copy of a hundred million keys is stopped and goes on",
		needs: needScanner,
		run: func(e *env) {
			want, stop := e.fill(250), errors.New("stop")
			seen, cursor := map[string]bool{}, ""
			for range 1_000_000 {
				err := e.scan(cursor, func(keys []string, next string) error {
					for _, k := range keys {
						seen[k] = true
					}
					cursor = next
					return stop
				})
				e.is(err, stop, "scan that was stopped")
				if cursor == "" {
					break
				}
			}
			for _, k := range want {
				if !seen[k] {
					e.Fatalf("scan in pieces: %q is missing", k)
				}
			}
		},
	},
	{
		Name:  "scan/YieldedKeysAreReadable",
		Why:   "keys come as the caller knows them, not as the server stores them",
		needs: needScanner,
		run: func(e *env) {
			k := e.key("plain")
			e.set(k, "v")
			found := false
			e.ok(e.scan("", func(keys []string, _ string) error {
				for _, got := range keys {
					if got == k {
						found = true
					}
				}
				return nil
			}), "scan")
			if !found {
				e.Fatalf("scan: %q is missing", k)
			}
			e.holds(k, "v")
		},
	},
}

func (e *env) fill(n int) []string {
	e.Helper()
	keys := make([]string, n)
	for i := range keys {
		keys[i] = e.key(fmt.Sprint("k", i))
		e.set(keys[i], "v")
	}
	return keys
}

func (e *env) scan(cursor string, yield func(keys []string, next string) error) error {
	if yield == nil {
		yield = func([]string, string) error { return nil }
	}
	return e.caps.Scanner.Scan(e.ctx, cursor, yield)
}
