//go:build !unix

package bolt_test

// children: a file cannot be kept from growing here.
var children map[string]func()
