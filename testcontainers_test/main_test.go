package containers

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

// imageMaker is the script that makes the images where no registry can be reached. Where it is
// there, an engine is meant to be there too.
const imageMaker = "../../shared/images.sh"

func TestMain(m *testing.M) {
	setUnlessSet("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	setUnlessSet("TESTCONTAINERS_RYUK_DISABLED", "true")
	logging.Disable() // servers that are killed make it talk
	log.SetDefault(quiet{})
	if err := engine(); err != nil {
		os.Exit(without(err))
	}
	os.Exit(m.Run())
}

// without says that nothing can be tested, and whether that is a failure.
func without(err error) (code int) {
	fmt.Fprintf(os.Stderr, "NOT RUN: the container tests need a container engine: %v\n", err)
	if _, made := os.Stat(imageMaker); made == nil && os.Getenv("CI") != "" {
		fmt.Fprintln(os.Stderr, "This is CI, and the images are made here: that is a failure.")
		return 1
	}
	return 0
}

// engine asks the container engine whether it is there. The library panics where it finds none.
func engine() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	p, err := testcontainers.NewDockerProvider()
	if err != nil {
		return err
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return p.Health(ctx)
}

func setUnlessSet(name, value string) {
	if os.Getenv(name) == "" {
		os.Setenv(name, value)
	}
}

// quiet drops the account of every container that comes and goes.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
