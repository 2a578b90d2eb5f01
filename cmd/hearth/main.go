// Command hearth moves the keys of one cache server or fleet to another, compares them, deletes
// them by their prefix, and moves the phase of a running migration.
//
//	hearth copy --from memcached://old:11211 --to redis://new:6379/0 --state copy.state
//	hearth verify --from memcached://old:11211 --to redis://new:6379/0 --sample 10000
//	hearth delete --at redis://new:6379/0 --prefix v2: --dry-run
//	hearth phase init --record redis://new:6379/0 --name orders:migration
//	hearth phase get --record redis://new:6379/0 --name orders:migration
//	hearth phase set --record redis://new:6379/0 --name orders:migration mirror
//
// Exit codes: 0 all went well; 1 some keys failed or differ, or the work is not complete; 2 the
// command was not understood; 3 a server cannot be reached.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"github.com/urfave/cli/v3"

	"github.com/hearthcache/hearth/cmd/hearth/internal/bulk"
)

// The exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // some keys failed or differ, or the work is not complete
	exitUsage   = 2
	exitConnect = 3
)

// exitError carries an exit code. A nil err says that everything has been printed already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(format string, a ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, a...)}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	logging.Disable() // what the client has to say comes back as errors
	at := &place{command: "hearth", stdout: counted{w: stdout}}
	err := app(at, stderr).Run(ctx, args)
	if err == nil {
		return exitOK
	}
	code, text := exitUsage, ""
	if e, ok := errors.AsType[*exitError](err); ok {
		code, text = e.code, err.Error()
	} else { // what the library finds wrong is the command line
		text = redacted(err.Error())
	}
	if at.json && at.stdout.n == 0 {
		_ = json.NewEncoder(&at.stdout).Encode(failure{text})
	}
	if text != "" {
		fmt.Fprintln(stderr, "hearth:", text)
	}
	if code == exitUsage {
		fmt.Fprintf(stderr, "Try \"%s --help\".\n", at.command)
	}
	return code
}

// place is how far a run has come.
type place struct {
	command string // with the commands above it
	json    bool   // it was asked for a line of JSON
	stdout  counted
}

// failure is what --json prints where there is no report.
type failure struct {
	Error string `json:"error"`
}

// counted counts what is written.
type counted struct {
	w io.Writer
	n int
}

func (c *counted) Write(b []byte) (int, error) {
	c.n += len(b)
	return c.w.Write(b)
}

var urls = regexp.MustCompile(`[a-z+]+://[^\s"]+`)

// redacted takes the passwords off the URLs in what the library says of a command line.
func redacted(text string) string { return urls.ReplaceAllStringFunc(text, bulk.Redact) }

// version is the one that the command was built as.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func app(at *place, stderr io.Writer) *cli.Command {
	stdout := &at.stdout
	root := &cli.Command{
		Name:    "hearth",
		Version: version(),
		Usage:   "move caches between servers",
		Description: "Servers are named by URLs:\n" + bulk.Forms + `

A URL with a password is better kept in the environment than on the command line: HEARTH_FROM,
HEARTH_TO, HEARTH_AT and HEARTH_RECORD stand for --from, --to, --at and --record.

Exit codes: 0 all went well; 1 some keys failed or differ, or the work is not complete;
2 the command was not understood; 3 a server cannot be reached.`,
		Commands: []*cli.Command{copyCommand(stdout, stderr), verifyCommand(stdout, stderr), deleteCommand(stdout, stderr), phaseCommand(stdout, stderr)},
		Action:   unknown,
	}
	prepare(root, at, stderr)
	return root
}

// prepare lets errors come back instead of ending the process or printing the whole help, and
// notes which command they come from.
func prepare(c *cli.Command, at *place, stderr io.Writer) {
	c.Writer, c.ErrWriter = &at.stdout, stderr
	c.ExitErrHandler = func(context.Context, *cli.Command, error) {}
	c.OnUsageError = func(_ context.Context, c *cli.Command, err error, _ bool) error {
		at.command = c.FullName()
		return &exitError{exitUsage, errors.New(redacted(err.Error()))}
	}
	action := c.Action
	c.Action = func(ctx context.Context, c *cli.Command) error {
		at.command, at.json = c.FullName(), c.Bool("json")
		return action(ctx, c)
	}
	for _, sub := range c.Commands {
		prepare(sub, at, stderr)
	}
}

// unknown is what a command with subcommands does without one that it knows.
func unknown(_ context.Context, c *cli.Command) error {
	var names []string
	for _, sub := range c.Commands {
		if sub.Name != "help" {
			names = append(names, sub.Name)
		}
	}
	known := strings.Join(names, ", ")
	if name := c.Args().First(); name != "" {
		hint := ""
		if near := cli.SuggestCommand(c.Commands, name); near != "" {
			hint = fmt.Sprintf(" (did you mean %q?)", near)
		}
		return usage("there is no command %q%s; there are %s", bulk.Redact(name), hint, known)
	}
	return usage("which command? There are %s", known)
}

// none refuses arguments where there must be none: a forgotten dash, mostly.
func none(c *cli.Command) error {
	if c.Args().Present() {
		return usage("unexpected argument %q", bulk.Redact(c.Args().First()))
	}
	return nil
}

// open connects to the servers that two flags name.
func open(ctx context.Context, c *cli.Command, o bulk.Options) (from, to *bulk.Endpoint, err error) {
	if err := none(c); err != nil {
		return nil, nil, err
	}
	a, b := c.String("from"), c.String("to")
	switch {
	case a == "" || b == "":
		return nil, nil, usage("--from and --to are needed (or HEARTH_FROM and HEARTH_TO), for instance --from memcached://localhost:11211 --to redis://localhost:6379/0")
	case a == b && c.String("strip-prefix") == c.String("add-prefix"):
		return nil, nil, usage("--from and --to are the same")
	}
	if from, err = bulk.Open(a, o); err != nil {
		return nil, nil, usage("--from %w", err)
	}
	if to, err = bulk.Open(b, o); err != nil {
		from.Close()
		return nil, nil, usage("--to %w", err)
	}
	for _, e := range []*bulk.Endpoint{from, to} {
		if err := e.Ping(ctx); err != nil {
			from.Close()
			to.Close()
			return nil, nil, &exitError{exitConnect, fmt.Errorf("cannot reach %w", err)}
		}
	}
	return from, to, nil
}

// endpointFlags are those of commands that work on two servers.
func endpointFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "from", Usage: "`URL` of the server to read", Sources: cli.EnvVars("HEARTH_FROM")},
		&cli.StringFlag{Name: "to", Usage: "`URL` of the other one", Sources: cli.EnvVars("HEARTH_TO")},
		&cli.StringFlag{Name: "prefix", Usage: "only keys that begin with `TEXT`"},
		&cli.StringFlag{Name: "match", Usage: "only keys that match a `PATTERN` as of Redis: * ? [a-z] \\"},
		&cli.StringFlag{Name: "except", Usage: "no keys that begin with `TEXT`"},
		&cli.StringFlag{Name: "strip-prefix", Usage: "take `TEXT` off the keys; keys without it are left out"},
		&cli.StringFlag{Name: "add-prefix", Usage: "put `TEXT` in front of the keys, after that"},
		&cli.IntFlag{Name: "workers", Usage: "`NUMBER` of workers", Value: 4, Validator: atLeast(1)},
		&cli.FloatFlag{Name: "rate", Usage: "at most `KEYS` per second; 0 = as fast as it goes", Validator: notBelowZero[float64]},
		&cli.DurationFlag{Name: "timeout", Usage: "`TIME` a server may take for a batch", Value: defaultTimeout, Validator: notBelowZero[time.Duration]},
		&cli.BoolFlag{Name: "hash-keys", Usage: "let memcached hold keys that it cannot hold under a hash, as hearth's driver does (other clients cannot find these)"},
		&cli.BoolFlag{Name: "json", Usage: "print the report as one line of JSON"},
		&cli.BoolFlag{Name: "quiet", Usage: "no progress", Aliases: []string{"q"}},
	}
}

// patienceFlag is for work that goes on after a server was away.
func patienceFlag(work string) cli.Flag {
	return &cli.DurationFlag{Name: "patience", Usage: "`TIME` a server may be away before " + work + " gives up", Value: 30 * time.Second, Validator: notBelowZero[time.Duration]}
}

func notBelowZero[T float64 | time.Duration](n T) error {
	if !(n >= 0) { // nor NaN
		return fmt.Errorf("%v is below 0", n)
	}
	return nil
}

func atLeast(least int) func(int) error {
	return func(n int) error {
		if n < least {
			return fmt.Errorf("%d is below %d", n, least)
		}
		return nil
	}
}

func filterOf(c *cli.Command) bulk.Filter {
	return bulk.Filter{Prefix: c.String("prefix"), Match: c.String("match"), Except: c.String("except"), StripPrefix: c.String("strip-prefix"), AddPrefix: c.String("add-prefix")}
}

func optionsOf(c *cli.Command) bulk.Options {
	return bulk.Options{Timeout: c.Duration("timeout"), Workers: c.Int("workers"), HashKeys: c.Bool("hash-keys")}
}
