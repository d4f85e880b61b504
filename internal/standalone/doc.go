// Package standalone runs gateway, dispatcher, notifier and transcoders in one
// process. Its stores are in one directory. A store that the options name is
// used as it is, and no embedded one takes its place.
//
// What the directory holds:
//
//	lock               one process at a time uses the directory
//	tonearm.db         conversions and users
//	s3/                objects, and the embedded store's port and keys
//	outbox/            mails
//	attempts/          working directories of attempts under way
//	signing-keys.pem   signs the tokens of users and of download links
//	attempt-key        signs the tokens of attempts
//	event-token        bearer token of the store's notifications
//	inbox.env          for S3 clients: a key that may only upload below inbox/, and
//	                   the store's address, as variables for a shell; written anew
//	                   at each start
//
// The queue is in memory and is lost with the process. Everything in it follows
// from the records.
package standalone
