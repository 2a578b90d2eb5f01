package readme

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/tracking"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/tier"
)

type User struct{ Name string }

// loads counts how often the source of record was asked.
var loads int

func loadUser(context.Context, string) (User, error) {
	loads++
	return User{Name: "Ada"}, nil
}

// The blocks of Go in README.md are the lines between the marks, in this order.

func newUsers() (*tier.Cache[User], error) {
	// README begins
	store, err := redis.OpenStore(os.Getenv("REDIS_URL"), redis.Config{}) // redis://localhost:6379
	if err != nil {
		return nil, err
	}
	return tier.New(tier.Config[User]{
		Namespace: "user",                                       // keys become user:42
		Remotes:   []tier.Remote{{Name: "redis", Store: store}}, // behind an L1 of 64 MiB
		Loader:    tier.LoaderFunc[User](loadUser),              // func(ctx, key) (User, error)
		TTL:       10 * time.Minute,                             // gone after this
	})
	// README ends
}

func use(ctx context.Context, users *tier.Cache[User]) error {
	// README begins
	u, err := users.Get(ctx, "42") // from this process, else from Redis, else one load for everybody
	if err != nil {
		return err // errors.Is(err, tier.ErrMiss): there is no such user
	}
	fmt.Println(u.Name)
	return users.Invalidate(ctx, "42") // after the database has committed a change
	// README ends
}

func newUsersOfManyProcesses(client goredis.UniversalClient) (*tier.Cache[User], error) {
	store, err := redis.New(client, redis.Config{})
	if err != nil {
		return nil, err
	}
	// README begins
	news, err := tracking.New(client, tracking.Config{Namespace: "user"}) // client, err := redis.Open(url)
	if err != nil {
		return nil, err
	}
	return tier.New(tier.Config[User]{
		Namespace: "user",
		Local:     tier.Local[User]{Invalidator: news},
		Remotes:   []tier.Remote{{Name: "redis", Store: store}}, // store, err := redis.New(client, redis.Config{})
		Loader:    tier.LoaderFunc[User](loadUser),
		TTL:       10 * time.Minute,
	})
	// README ends
}

// One process changes a user, and then somebody deletes the key by hand: the other's L1 follows.
func TestQuickstart_OtherProcessesFollow(t *testing.T) {
	srv := serverstest.Redis(t)
	serverstest.Real(t, srv)
	var caches [2]*tier.Cache[User]
	var client goredis.UniversalClient
	for i := range caches {
		var err error
		if client, err = redis.Open("redis://" + srv.Addr()); err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if caches[i], err = newUsersOfManyProcesses(client); err != nil {
			t.Fatal(err)
		}
		defer caches[i].Close(context.Background())
	}
	here, there := caches[0], caches[1]
	for _, change := range []func() error{
		func() error { return here.Invalidate(t.Context(), "42") },
		func() error { return client.Del(t.Context(), "user:42").Err() },
	} {
		within(t, "it is in the other L1", func() bool {
			_, _ = there.Get(t.Context(), "42")
			e, err := there.Lookup(t.Context(), "42")
			return err == nil && e.Source == "L1"
		})
		if err := change(); err != nil {
			t.Fatal(err)
		}
		within(t, "the other L1 has followed", func() bool {
			_, err := there.Lookup(t.Context(), "42")
			return errors.Is(err, tier.ErrMiss)
		})
	}
}

// within waits until ok, for as long as a busy machine may take.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestQuickstart_Runs(t *testing.T) {
	srv := serverstest.Redis(t)
	t.Setenv("REDIS_URL", "redis://"+srv.Addr())
	users, err := newUsers()
	if err != nil {
		t.Fatal(err)
	}
	defer users.Close(context.Background())
	loads = 0
	if err := use(t.Context(), users); err != nil {
		t.Fatal(err)
	}
	if loads != 1 {
		t.Errorf("the source was asked %d times, want once", loads)
	}
	if e, err := users.Lookup(t.Context(), "42"); !errors.Is(err, tier.ErrMiss) {
		t.Errorf("after the invalidation: %+v, %v", e, err)
	}
}

func TestQuickstart_IsTheOneInTheReadmeAndHasTenLines(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read(t, "README.md"), -1)
	tested := marked(read(t, "internal/readme/quickstart_test.go"))
	if len(blocks) != len(tested) || len(tested) == 0 {
		t.Fatalf("README.md has %d blocks of Go, %d are tested", len(blocks), len(tested))
	}
	for i, b := range blocks {
		if b[1] != tested[i] {
			t.Errorf("README.md shows\n%s\nand what is tested is\n%s", b[1], tested[i])
		}
	}
	if n := strings.Count(tested[0], "\n"); n > 10 {
		t.Errorf("the quickstart has %d lines", n)
	}
}

// marked returns what stands between the marks, one indentation less.
func marked(code string) (blocks []string) {
	for {
		_, rest, ok := strings.Cut(code, "\t// README begins\n")
		block, rest, ends := strings.Cut(rest, "\t// README ends\n")
		if !ok || !ends {
			return blocks
		}
		blocks = append(blocks, strings.ReplaceAll("\n"+block, "\n\t", "\n")[1:])
		code = rest
	}
}

// read returns a file of the module.
func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
