// Package dispatcher turns uploads into attempts and attempts into results.
//
// It hears of uploads from the store's notifications, by webhook or from a queue
// of them, and finds the ones it was not told of, takes work from the queue as capacity allows, launches one
// attempt for each message, serves the three calls of the transcoders, and
// keeps the agenda: whatever a record says has to be looked at by now.
//
// Guarantees. A conversion has at most one result however often it is
// notified, queued, launched or reported; every uploaded file ends as done or
// failed, with one notice owed to its owner. An attempt that its node or this
// process lost is begun again and does not count against the file.
//
// Short files. A launch that is done goes on with further files of the same
// owner, up to Options.MaxFilesPerJob, while nobody else waits and they fit it.
// Each is an attempt of its own; a launch that ends loses the one it carries as
// any attempt is lost. Where the queue is away the launch ends instead.
//
// Class gpu is a wish. What waits for a GPU longer than Options.GPUWait, what
// could not be started on one, and all of it where there is none, goes on in class
// cpu; the record says so.
//
// When a neighbour fails:
//   - Records down: events are answered 503 or left in their queue, and come
//     again or are found by the sweep; attempts go on and repeat their reports; nothing is
//     launched.
//   - Queue down: transitions are written, their messages wait in the records'
//     outboxes. Queue wiped: its generation changes and everything owed is
//     published again.
//   - Queue of notifications down: the sweep finds uploads.
//   - Object store down: what needs a HEAD waits; attempts retry.
//   - Users down: inbox drops wait for the next sweep; nothing else notices.
//   - Launcher down or full: messages go back to the queue.
//
// Any number of replicas may serve events and attempts. Permissions: read and
// write the conversions; read the accounts; read, list and delete objects,
// sign for them, set the bucket's notification or take from the queue of them;
// take and publish messages; start, list and stop attempts.
package dispatcher
