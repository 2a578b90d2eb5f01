// Quickstart shows a typed cache with an L1 over Redis: a record is loaded once, found from then
// on, and loaded again after it has changed.
//
// Run it with
//
//	go run ./examples/quickstart
//
// It starts a Redis of its own (redis-server from PATH, else a stand-in inside this process), or
// uses the one that -redis names.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/tier"
)

// User is what the service caches.
type User struct {
	Name string
	City string
}

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// run is the program; it returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	url := flags.String("redis", "", "use the Redis at this `url`, e.g. redis://localhost:6379 (default: start one)")
	flags.Usage = func() {
		fmt.Fprint(stderr, "A typed cache with an L1 over Redis: load once, hit, invalidate.\n\nusage: quickstart [flags]\n\n")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "quickstart: unexpected argument %q; quickstart -h shows what can be asked for\n", flags.Arg(0))
		return 2
	}
	if err := quickstart(ctx, *url, stdout); err != nil {
		fmt.Fprintf(stderr, "quickstart: %v\n", err)
		return 1
	}
	return 0
}

// newUsers is all it takes: a typed cache with an L1 over Redis, in front of a database.
func newUsers(store *redis.Store, db *database) (*tier.Cache[User], error) {
	return tier.New(tier.Config[User]{
		Namespace: "user", // keys become user:42
		Remotes:   []tier.Remote{{Name: "Redis", Store: store}},
		Loader:    tier.LoaderFunc[User](db.load),
		TTL:       10 * time.Minute,
	})
}

// quickstart uses it.
func quickstart(ctx context.Context, url string, out io.Writer) error {
	store, done, err := connect(ctx, url, out)
	if err != nil {
		return err
	}
	defer done()
	db := &database{users: map[string]User{"42": {"Ada", "London"}}}
	here, err := newUsers(store, db)
	if err != nil {
		return err
	}
	defer here.Close(ctx)
	there, err := newUsers(store, db) // as another process would have it
	if err != nil {
		return err
	}
	defer there.Close(ctx)
	if err := here.Invalidate(ctx, "42"); err != nil { // what an earlier run may have left
		return err
	}

	show(ctx, out, "The first read asks the database", here, "42")
	show(ctx, out, "The second one does not", here, "42")
	show(ctx, out, "Nor does another process", there, "42")

	db.users["42"] = User{"Ada", "Paris"} // first commit ...
	if err := here.Invalidate(ctx, "42"); err != nil {
		return err // ... then make the caches forget
	}
	show(ctx, out, "Changed and invalidated, once more", here, "42")
	show(ctx, out, "Somebody who does not exist", here, "43")
	fmt.Fprintf(out, "%-36s %d\n", "Asked of the database in all", db.loads)
	return nil
}

// show reads a user and says where the value was.
func show(ctx context.Context, out io.Writer, what string, users *tier.Cache[User], id string) {
	from := "the database"
	if e, err := users.Lookup(ctx, id); err == nil { // only for this line; Get alone is the usual call
		from = e.Source
	}
	u, err := users.Get(ctx, id)
	switch {
	case errors.Is(err, tier.ErrMiss):
		fmt.Fprintf(out, "%-36s no such user\n", what)
	case err != nil:
		fmt.Fprintf(out, "%-36s no answer: %v\n", what, err)
	default:
		fmt.Fprintf(out, "%-36s %s of %s, from %s\n", what, u.Name, u.City, from)
	}
}

// database stands in for the source of record.
type database struct {
	users map[string]User
	loads int
}

func (d *database) load(_ context.Context, id string) (User, error) {
	d.loads++
	u, ok := d.users[id]
	if !ok {
		return User{}, tier.ErrMiss
	}
	return u, nil
}

// connect returns a store on the Redis at url, or on one that it starts.
func connect(ctx context.Context, url string, out io.Writer) (*redis.Store, func(), error) {
	if url != "" {
		store, err := redis.OpenStore(url, redis.Config{})
		if err != nil {
			return nil, nil, fmt.Errorf("-redis: %w", err)
		}
		if err := store.Ping(ctx); err != nil {
			store.Close()
			return nil, nil, fmt.Errorf("-redis: the server does not answer: %w", err)
		}
		fmt.Fprintln(out, "Using your Redis.")
		return store, func() { store.Close() }, nil
	}
	srv, err := servers.StartRedis(servers.Options{})
	if err != nil {
		return nil, nil, err
	}
	store, err := redis.OpenStore("redis://"+srv.Addr(), redis.Config{})
	if err != nil {
		srv.Close()
		return nil, nil, err
	}
	fmt.Fprintf(out, "Started a Redis (%s).\n", srv.Kind())
	return store, func() { store.Close(); srv.Close() }, nil
}
