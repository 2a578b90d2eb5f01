package redis

import (
	"slices"
	"unsafe"
)

// argument is a key among the arguments of a command. The client takes it by its address, which
// costs no allocation, where it would box a string; hooks print it as what it is.
type argument string

// MarshalBinary is how the client writes a.
func (a *argument) MarshalBinary() ([]byte, error) {
	return unsafe.Slice(unsafe.StringData(string(*a)), len(*a)), nil
}

// String returns the key.
func (a *argument) String() string { return string(*a) }

// mgetArgs makes an MGET of keys. A hook may keep the command, and keys are the caller's: they are
// copied.
func mgetArgs(keys []string) []any {
	own := slices.Clone(keys)
	args := make([]any, 1, 1+len(own))
	args[0] = "mget"
	for i := range own {
		args = append(args, (*argument)(&own[i]))
	}
	return args
}
