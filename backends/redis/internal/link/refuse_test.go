package link

import (
	"errors"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

// word is a server's reply.
type word string

func (w word) Error() string { return string(w) }
func (word) RedisError()     {}

var _ goredis.Error = word("")

func TestRefusal_AServerThatIsFullOrDegradedHasNotRefused(t *testing.T) {
	for reply, want := range map[word]bool{
		"NOPERM this user has no permissions to run the 'xadd' command":                                   true,
		"ERR unknown command 'XADD'":                                                                      true,
		"OOM command not allowed when used memory > 'maxmemory'.":                                         false,
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk": false,
		"NOREPLICAS Not enough good replicas to write.":                                                   false,
		"LOADING Redis is loading the dataset in memory":                                                  false,
		"WRONGPASS invalid username-password pair or user is disabled.":                                   false,
	} {
		if got := Refused(Refusal(reply)); got != want {
			t.Errorf("%q: refused %v", reply, got)
		}
	}
	if Refused(Refusal(errors.New("OOM, says somebody on the way"))) {
		t.Error("an error that is no reply was a refusal")
	}
}
