// Package memory is the reference store: a map in this process that has every capability of
// package backends, with exactly the semantics the contract asks for.
//
// Use it in tests of a service that uses hearth, as a stand-in for a server on a developer's
// machine, and to look up what a capability means. It is not the L1 of a cache: it keeps bytes,
// takes one lock, and evicts nothing (package ristretto is the L1).
//
//	store := memory.New(memory.Config{})
//
// Time is [time.Now] unless Config.Now says otherwise, so a test can let lifetimes and leases
// run out without waiting, with a clock of its own or inside testing/synctest.
//
// Leases and tombstones are kept under the key as the bytes that the drivers for servers write
// ([Store.Raw] shows them), so that tests can look at a key as a foreign client would. A value
// that has exactly the form of one of these is therefore read as one, as on a server.
package memory
