// Package gateway is Tonearm's front door: the HTTP interface for people,
// scripts and the CLI. It knows users and their conversions, signs the URLs by
// which videos and MP3s travel, and passes no byte of either on itself, except
// for POST /upload, the plain form for curl.
//
// # Guarantees
//
// What was answered with 2xx is in the records. A request that failed may be
// sent again: transitions that have happened already answer as if they happened
// now, and an Idempotency-Key makes the creation of a conversion repeatable
// (201 for the first, 200 for the same again, 422 idempotency_mismatch for
// another body under the same key).
//
// Users see what is theirs. Another user's id, a deleted one and one that never
// existed get the same answer, byte by byte.
//
// Every answer that is not the one hoped for is an RFC 9457 problem document
// with a stable code; problemOf is where errors become statuses. JSON bodies
// are strict: one value, no unknown fields.
//
// An upload through the gateway is either whole and recorded, or leaves neither
// conversion nor object. A gateway that is killed in the middle of one leaves a
// conversion that expires, and parts that the store's own clean-up of
// incomplete uploads removes.
//
// # When a neighbour fails
//
// Records, accounts or object store down: 503 code unavailable with
// Retry-After, within 5 seconds (10 where a password is checked); nothing is
// lost. Answers that need only the others go on.
//
// Queue down: everything goes on. Transitions are written with the messages
// they cause and published later by whoever looks at the record; ?wait= reads
// every 5 seconds instead of being woken.
//
// Dispatcher, transcoders or notifier down: conversions are created, uploaded
// and completed, and stay queued.
//
// Any number of gateways may run side by side. Failed logins are counted by
// each of them for itself, by address and by the network that the connection
// comes from: behind a proxy, that is the proxy's.
//
// # Permissions
//
// Records and accounts: read and write. Queue: publish, announce, subscribe.
// Object store: HEAD, PUT, DELETE and multipart uploads under uploads/, GET
// under mp3s/ (its presigned URLs act with its key). The tokens' signing key.
package gateway
