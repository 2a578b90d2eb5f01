// Package link keeps one dedicated connection to one Redis node, notices by itself when it is
// gone, and keeps book of whether all connections of a source are up.
//
// The client's own means do not suffice: its health check only notices pings that cannot be
// written, which a link that swallows everything never shows; a receive with a timeout that ends
// in the middle of a frame consumes half of it; and after an error a connection is replaced
// behind the caller's back, with no word about what was missed. So a [Line] lives on exactly one
// connection, receives without a timeout, sends numbered pings, wants their answers in order, and
// ends with an error at the first thing it does not understand.
package link
