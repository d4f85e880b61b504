// Package dispatcher turns uploads into attempts and attempts into results.
//
// It hears of uploads from the store's notifications and finds the ones it was
// not told of, takes work from the queue as capacity allows, launches one
// attempt for each message, serves the three calls of the transcoders, and
// keeps the agenda: whatever a record says has to be looked at by now.
//
// Guarantees. A conversion has at most one result however often it is
// notified, queued, launched or reported; every uploaded file ends as done or
// failed, with one notice owed to its owner. An attempt that its node or this
// process lost is begun again and does not count against the file.
//
// Class gpu is a wish. What waits for a GPU longer than Options.GPUWait, what
// could not be started on one, and all of it where there is none, goes on in class
// cpu; the record says so.
//
// When a neighbour fails:
//   - Records down: events are answered 503 and sent again by the store or
//     found by the sweep; attempts go on and repeat their reports; nothing is
//     launched.
//   - Queue down: transitions are written, their messages wait in the records'
//     outboxes. Queue wiped: its generation changes and everything owed is
//     published again.
//   - Object store down: what needs a HEAD waits; attempts retry.
//   - Accounts down: inbox drops wait for the next sweep; nothing else notices.
//   - Launcher down or full: messages go back to the queue.
//
// Any number of replicas may serve events and attempts. Permissions: read and
// write the conversions; read the accounts; read, list and delete objects,
// sign for them, set the bucket's notification; take and publish messages;
// start, list and stop attempts.
package dispatcher
