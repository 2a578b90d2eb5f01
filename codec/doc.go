// Package codec turns values into the bytes that remote tiers store, and back: a [Codec] encodes
// a value, a [Framer] puts the encoding into a frame.
//
// The frame says everything a reader needs to know before it believes the bytes: which release
// of the format wrote it, with which codec, compression and key; when the value was made and
// until when it is good; and a checksum over it all. What does not add up is [ErrUnreadable],
// which a cache counts (see [Reason]) and treats as a miss. It is never a panic and never a
// wrong value.
//
// # Which codec
//
//   - [JSON], the default: readable with any tool, and slow to read back.
//   - [CBOR]: the same struct tags, smaller, three to four times as quick. Take it unless people
//     look at the cache by hand.
//   - [Bytes] and [String], the defaults for []byte and string: as they are.
//   - [Func], for protobuf and whatever else: two functions and an id of your own.
//
// There is no gob: it is the slowest of all and ties the stored bytes to Go types.
//
// Moving to another codec takes two releases: first one with the new codec in Config.Readers,
// then one that writes it, with the old one in Readers until the longest TTL has passed. A field
// that is added or left out needs nothing with JSON and CBOR; when its meaning changes, raise
// Config.Schema.
//
// # Compression and encryption
//
// Payloads over a threshold are compressed, then encrypted. Where an attacker can put chosen
// text beside a secret in one value and see the size of the result, the size tells about the
// secret: do not compress such values.
//
// Without keys the checksum guards against accidents only. With a [KeyRing], payloads are
// encrypted with AES-256-GCM, and header, namespace and key are authenticated: a value moved to
// another key or namespace is unreadable. The header itself (times, version, tags) stays in the
// clear. Somebody who can write to the server can still put back an older value of the same key.
//
// # Layout
//
// Integers are big-endian; "uvarint" is that of encoding/binary, "varint" its zigzag form, and
// both only in the shortest form: a frame is accepted only in the one form in which it would be
// written.
//
//	offset  size     what
//	0       1        0x00
//	1       1        'F'
//	2       1        format version, 1; a reader of version n takes n+1 for a miss
//	3       1        flags: which of the optional fields below are there
//	4       8        version of the record, 0 = none
//	12      1        codec: 0 none, 1 raw, 2 JSON, 3 CBOR, 128 to 255 the application's
//	13      1        compression: 0 none, 1 S2 block, 2 Zstandard frame with content size
//	14      1        key id: 0 = not encrypted
//	15      varint   created, Unix ms
//	        varint   flag 0x01: fresh until, ms after created
//	        varint   flag 0x02: expires, ms after created
//	        uvarint  flag 0x04: load duration, us
//	        8        flag 0x08: operation id
//	        uvarint  flag 0x10: generation of the namespace
//	        1 + n    flag 0x20: count (1 to 255), then per tag 8 bytes id and uvarint barrier, by id
//	        uvarint  flag 0x40: schema
//	                 flag 0x80: negative; codec and compression are 0, the payload is empty
//	        4        length of what follows, without the checksum
//	        length   payload; encrypted: nonce (12), ciphertext, tag (16)
//	        8        xxHash64; only if not encrypted
//
// The checksum is over: length of the namespace (8 bytes), namespace, length of the key (8
// bytes), key, and the frame up to here. The additional data of the encryption is the same, up to
// the payload. A plain value with both deadlines and a load duration has about 45 bytes of frame
// around it.
package codec
