package readme

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends/redis"
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

// quickstart is the block of README.md; the lines between the marks are compared with it.
func quickstart(ctx context.Context) error {
	// README begins
	client, err := redis.Open(os.Getenv("REDIS_URL")) // redis://localhost:6379
	if err != nil {
		return err
	}
	defer client.Close()
	store, err := redis.New(client, redis.Config{})
	if err != nil {
		return err
	}
	users, err := tier.New(tier.Config[User]{
		Namespace: "user",
		Remotes:   []tier.Remote{{Name: "redis", Store: store}},
		Loader:    tier.LoaderFunc[User](loadUser), // func(ctx, key) (User, error)
		TTL:       10 * time.Minute,                // gone after this
		Fresh:     time.Minute,                     // refreshed behind the reader after this
	})
	if err != nil {
		return err
	}
	defer users.Close(ctx)

	u, err := users.Get(ctx, "42") // this process, else Redis, else one load for everybody
	if err != nil {
		return err // errors.Is(err, tier.ErrMiss): there is no such user
	}
	fmt.Println(u.Name)
	return users.Invalidate(ctx, "42") // after the database has committed a change
	// README ends
}

func TestQuickstart_Runs(t *testing.T) {
	t.Setenv("REDIS_URL", "redis://"+serverstest.Redis(t).Addr())
	if err := quickstart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if loads != 1 {
		t.Errorf("the source was asked %d times, want once", loads)
	}
}

func TestQuickstart_IsTheOneInTheReadme(t *testing.T) {
	code := read(t, "internal/readme/quickstart_test.go")
	_, code, ok := strings.Cut(code, "\t// README begins\n")
	code, _, ends := strings.Cut(code, "\t// README ends\n")
	if !ok || !ends {
		t.Fatal("the marks around the quickstart are gone")
	}
	block := regexp.MustCompile("(?s)```go\n(.*?)```").FindStringSubmatch(read(t, "README.md"))
	if block == nil {
		t.Fatal("README.md has no Go block")
	}
	code = strings.ReplaceAll("\n"+code, "\n\t", "\n")[1:]
	if block[1] != code {
		t.Errorf("README.md shows\n%s\nand what is tested is\n%s", block[1], code)
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
