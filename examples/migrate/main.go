package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program. It returns 0, 1 where something failed or a promise was not kept, and 2 for
// a wrong command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "migrate: %v\nmigrate -h shows what can be asked for.\n", err)
		return 2
	}
	out := stdout
	if o.json {
		out = stderr // standard output is for the JSON line
	}
	r, err := migrate(ctx, o, out)
	if err != nil {
		fmt.Fprintf(stderr, "migrate: %v\n", err)
		return 1
	}
	r.print(out)
	if o.json {
		if err := r.printJSON(stdout); err != nil {
			fmt.Fprintf(stderr, "migrate: %v\n", err)
			return 1
		}
	}
	code := 0
	for _, p := range r.promises() {
		if !p.kept {
			fmt.Fprintf(stderr, "migrate: not kept: %s\n", p.says)
			code = 1
		}
	}
	return code
}
