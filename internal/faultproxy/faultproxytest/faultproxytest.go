// Package faultproxytest gives a test a fault proxy and ends it with the test.
package faultproxytest

import (
	"testing"

	"github.com/hearthcache/hearth/internal/faultproxy"
)

// New returns a proxy in front of target that is closed when the test ends.
func New(t testing.TB, target string) *faultproxy.Proxy {
	t.Helper()
	p, err := faultproxy.New(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}
