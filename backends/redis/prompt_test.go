package redis_test

import (
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis"
)

func TestLimits_OnlyAClientThatLooksAtDeadlinesIsPrompt(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts *goredis.Options
		want bool
	}{
		{"as Options makes it", redis.Options("127.0.0.1:1"), true},
		{"the client's defaults", &goredis.Options{Addr: "127.0.0.1:1"}, false},
	} {
		client := goredis.NewClient(tc.opts)
		defer client.Close()
		s, err := redis.New(client, redis.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if got := backends.CapsOf(s).Prompt; got != tc.want {
			t.Errorf("%s: prompt %v", tc.name, got)
		}
	}
}
