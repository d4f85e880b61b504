// Package gateway is Tonearm's front door: the HTTP interface for people,
// scripts and the CLI. It knows users and their conversions, and signs the URLs
// over which videos and MP3s travel. No byte of a video or MP3 passes through
// it, except with POST /upload, the plain form for curl.
//
// # Guarantees
//
// Whatever was answered with 2xx is in the records. A request that failed may
// be sent again. A transition that has already happened is answered as if it
// had happened now. An Idempotency-Key makes creating a conversion repeatable:
// 201 for the first request, 200 for the same again, 422 idempotency_mismatch
// for another body under the same key. POST /upload takes it too.
//
// Users see only what is theirs. An id of another user, a deleted one and one
// that never existed get exactly the same answer.
//
// Every answer that reports a failure is an RFC 9457 problem document with a
// stable code. problemOf turns errors into statuses. JSON bodies are strict:
// one value, no unknown fields.
//
// An upload through the gateway is either complete and recorded, or it leaves
// neither conversion nor object, or the answer is 503 outcome_unknown and names
// the conversion, because a store failed in such a way that it may go on. A gateway that is killed in the middle of one
// leaves a conversion that expires, and parts that the store removes itself
// when it cleans up incomplete uploads.
//
// Users have quotas. At one the answer is 429 quota_exceeded with its name, and
// nothing was begun. What a user takes is counted from the records, at the latest half
// a minute after another process admitted something; see package quota. Requests that
// wait and uploads through the gateway are counted by each gateway alone.
//
// # When a neighbour fails
//
// Records, accounts or object store down: 503 code unavailable with
// Retry-After, within 5 seconds (10 if a password is checked). Nothing that was
// answered with 2xx is lost. Records, accounts or object store full: 507 code
// storage_full; reading goes on. Requests that do not need that store work as usual.
//
// Queue down: everything works. Transitions are written together with their
// messages, and whoever looks at the record next publishes them; ?wait= reads
// every 5 seconds instead of being woken.
//
// Limits down: each gateway counts failed logins for itself.
//
// Records or accounts slow: users are admitted by what was counted last.
//
// Dispatcher, transcoders or notifier down: conversions are created, uploaded
// and completed, and stay queued.
//
// Any number of gateways may run side by side. They count failed logins together,
// by account and by the network that a request comes from (limits.go). That is
// the peer's, unless the peer is one of TrustedProxies.
//
// # Permissions
//
// Records, accounts and limits: read and write. Queue: publish, announce,
// subscribe. Object store: HEAD, PUT, DELETE and multipart uploads under uploads/, GET
// under mp3s/ (its presigned URLs act with its key). The tokens' signing key.
package gateway
