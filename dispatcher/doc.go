// Package dispatcher turns uploads into attempts and attempts into results.
//
// It learns of uploads from the store's notifications, by webhook or from a
// queue of notifications, and looks for uploads whose notification was lost. It
// takes work from the queue as capacity allows, and launches one attempt for
// each message. It serves the three calls of the transcoders. And it keeps the
// agenda: it looks at every record whose time has come.
//
// Guarantees. A conversion has at most one result, however often it is
// notified, queued, launched or reported. Every uploaded file ends as done or
// failed, with one notice owed to its owner. An attempt that was lost with its
// node or with this process is begun again and does not count against the file.
//
// Short files. A launch that is done goes on with further files of the same
// owner, up to Options.MaxFilesPerJob, while nobody else waits and the files
// fit into it. Each file is an attempt of its own. A launch that ends loses the
// attempt that it carries, as any attempt can be lost. While the queue is down,
// launches end instead of going on.
//
// Class gpu is a wish. A conversion goes on in class cpu if it waits for a GPU
// longer than Options.GPUWait, if it could not be started on one, or if there
// are none. The record says so.
//
// Shares. While others wait, an owner has no more than a share of the attempts that
// may run. Where one owner has all of them, one attempt of another owner may run
// beside them.
//
// Use. A row for each user and day in the accounts says what the user's conversions
// take. It follows from the records and is right within a minute; see use.go.
//
// When a neighbour fails:
//   - Records down: events are answered with 503 or left in their queue; they
//     come again, or the sweep finds the uploads. Attempts go on and repeat
//     their reports. Nothing is launched.
//   - Queue down: transitions are written, and their messages wait in the
//     records' outboxes. Queue wiped, or back at an earlier state: its generation
//     changes, and everything owed is published again.
//   - Queue of notifications down: the sweep finds uploads.
//   - Object store down: whatever needs a HEAD waits; attempts retry.
//   - Users down: inbox drops wait for the next sweep, the rows of use for the next
//     count, and owners have the shares that were read last; nothing else is
//     affected.
//   - Launcher down or full: messages go back to the queue.
//   - Machines not well: attempts are handed back and do not count. After some in
//     a row their class takes no more work but one file now and then.
//
// Any number of replicas may serve events and attempts. Permissions: read and
// write the conversions; read the accounts and write their
// rows of use; read, list and delete objects,
// sign for them, set the bucket's notification or take from the queue of them;
// take and publish messages; start, list and stop attempts.
package dispatcher
