package redis

import (
	"context"
	"slices"

	goredis "github.com/redis/go-redis/v9"
)

// batch collects commands, one an entry, and sends them in pipelines.
type batch struct {
	s    *Store
	ctx  context.Context
	errs []error // refusals; the entries they belong to have no command
	cmds []queued
}

// queued is the command of one entry. If the server lacks its script, the text is sent; if it
// does not know the form of the command, the other one.
type queued struct {
	entry int
	bytes int
	cmd   *goredis.Cmd
	text  string
	other []any
}

func (s *Store) batch(ctx context.Context, n int) *batch {
	return &batch{s: s, ctx: ctx, errs: make([]error, n), cmds: make([]queued, 0, n)}
}

// command adds a plain command for entry i, with the size of its value.
func (b *batch) command(i, bytes int, args []any) {
	b.cmds = append(b.cmds, queued{entry: i, bytes: bytes, cmd: goredis.NewCmd(b.ctx, args...)})
}

// script adds a script call for entry i.
func (b *batch) script(i, bytes int, sc script, keys []string, args ...any) {
	b.command(i, bytes, call("evalsha", sc.sum, keys, args))
	b.last().text = sc.source
}

func (b *batch) last() *queued { return &b.cmds[len(b.cmds)-1] }

// exec sends everything, then what the server could not take in its first form in the other. It
// reports whether the server did not know the form of some command.
func (b *batch) exec() (unknownForm bool) {
	b.send(b.cmds)
	var again []queued
	for i, c := range b.cmds {
		args := c.other
		switch err := c.cmd.Err(); {
		case args != nil && isSyntax(err):
			unknownForm = true
		case c.text != "" && isNoScript(err):
			args = slices.Clone(c.cmd.Args())
			args[0], args[1] = "eval", c.text
		default:
			continue
		}
		b.cmds[i].cmd = goredis.NewCmd(b.ctx, args...)
		again = append(again, b.cmds[i])
	}
	b.send(again)
	return unknownForm
}

// send sends cmds in pipelines of bounded size.
func (b *batch) send(cmds []queued) {
	for len(cmds) > 0 {
		if err := ended(b.ctx); err != nil { // after the first pipelines
			for _, c := range cmds {
				c.cmd.SetErr(unsent{err})
			}
			return
		}
		pipe := b.s.client.Pipeline()
		n, bytes := 0, 0
		for n < len(cmds) && n < chunkKeys && (n == 0 || bytes+cmds[n].bytes <= chunkBytes) {
			_ = pipe.Process(b.ctx, b.s.single(cmds[n].cmd))
			bytes += cmds[n].bytes
			n++
		}
		_, _ = pipe.Exec(b.ctx) // each command has its own error
		cmds = cmds[n:]
	}
}

// outcome sends everything and returns one error an entry, nil when there are none.
func (b *batch) outcome(read func(*goredis.Cmd) error) []error {
	b.exec()
	for _, c := range b.cmds {
		b.errs[c.entry] = read(c.cmd)
	}
	return someErrors(b.errs)
}

// someErrors is errs, or nil when all are.
func someErrors(errs []error) []error {
	if slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		return errs
	}
	return nil
}
