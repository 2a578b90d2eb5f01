package link

import (
	"maps"
	"slices"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

func TestEmptyMasters(t *testing.T) {
	const full = "a1 10.0.0.1:7000@17000,one,shard-id=x myself,master - 0 0 1 connected 0-8191 [5->-b2]\n"
	for _, c := range []struct {
		name, answer string
		known        []string
		want         []string
	}{
		{"none", full, []string{"10.0.0.1:7000"}, nil},
		{"one that has no slots", full + "b2 10.0.0.2:7000@17000 master - 0 0 2 connected\n", []string{"10.0.0.1:7000"}, []string{"10.0.0.2:7000"}},
		{"one that takes a slot over", full + "b2 10.0.0.2:7000@17000 master - 0 0 2 connected [5-<-a1]\n", []string{"10.0.0.1:7000"}, []string{"10.0.0.2:7000"}},
		{"the client calls them by name", full + "b2 10.0.0.2:7000@17000,two master - 0 0 2 connected\n", []string{"one:7000"}, []string{"two:7000"}},
		{"without a bus port", full + "b2 10.0.0.2:7000 master - 0 0 2 connected\n", []string{"10.0.0.1:7000"}, []string{"10.0.0.2:7000"}},
		{"IPv6", full + "b2 fe80::2:7000@17000 master - 0 0 2 connected\n", []string{"10.0.0.1:7000"}, []string{"[fe80::2]:7000"}},
		{"a replica", full + "b2 10.0.0.2:7000@17000 slave a1 0 0 2 connected\n", []string{"10.0.0.1:7000"}, nil},
		{"one that has failed", full + "b2 10.0.0.2:7000@17000 master,fail? - 0 0 2 connected\n", []string{"10.0.0.1:7000"}, nil},
		{"one that must not take over", full + "b2 10.0.0.2:7000@17000 master,nofailover - 0 0 2 connected\n", []string{"10.0.0.1:7000"}, []string{"10.0.0.2:7000"}},
		{"one that nobody has met", full + "b2 :0@0 master,noaddr - 0 0 2 disconnected\n", []string{"10.0.0.1:7000"}, nil},
		{"one that believes to be here", full + "b2 127.0.0.1:7001@17001 master - 0 0 2 connected\n", []string{"10.0.0.1:7000"}, nil},
		{"all are here", full + "b2 127.0.0.1:7001@17001 master - 0 0 2 connected\n", []string{"127.0.0.1:7000"}, []string{"127.0.0.1:7001"}},
		{"known by now", full + "b2 10.0.0.2:7000@17000 master - 0 0 2 connected\n", []string{"10.0.0.1:7000", "10.0.0.2:7000"}, nil},
		{"something else", "what\n\n", []string{"10.0.0.1:7000"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			known := map[string]*goredis.Options{}
			for _, k := range c.known {
				known[k] = &goredis.Options{Addr: k, Username: "u"}
			}
			got := emptyMasters(c.answer, known)
			if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, c.want) {
				t.Fatalf("got %q, want %q", names, c.want)
			}
			for addr, o := range got {
				if o.Addr != addr || o.Username != "u" {
					t.Errorf("%s is reached by %+v", addr, o)
				}
			}
		})
	}
}
