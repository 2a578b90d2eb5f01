package backendtest_test

import (
	"context"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A store of your own is held to the contract in a test of this form.
func ExampleRun() {
	_ = func(t *testing.T) {
		backendtest.Run(t, func(*testing.T) backendtest.Harness {
			return backendtest.Harness{Store: memory.New(memory.Config{})}
		})
	}
	fmt.Println("go test")
	// Output:
	// go test
}

// A delete whose answer is lost has happened all the same.
func ExampleFaulty() {
	ctx := context.Background()
	f := backendtest.NewFaulty(memory.New(memory.Config{}), 1)
	_ = f.Set(ctx, "k", backends.Item{Value: []byte("v")})

	f.Inject(backendtest.Fault{Op: backendtest.OpDelete, Applied: true})
	fmt.Println(f.Delete(ctx, "k"))
	_, err := f.Get(ctx, "k")
	fmt.Println(err)
	fmt.Println(f.Calls(), "calls")
	// Output:
	// cache: outcome unknown
	// cache: miss
	// 3 calls
}
