// Package transcoder carries out one attempt at one conversion. Then it carries
// out the further attempts that the dispatcher gives it, one after the other,
// and ends.
//
// It claims its assignment from the dispatcher with a token that is good for
// that attempt alone. It reads the source into a private directory (package
// source): of an MP4 only the audio of the chosen track, and for a cover the
// part of the pictures that the cover is made of. Meanwhile ffmpeg makes the
// MP3 (package media). It checks the MP3's length, stores the MP3 and reports.
// It gets only two presigned URLs: one object to read, one to write. It has no
// key of the object store, no database password and no Kubernetes token, and
// does not link the code for any of these.
//
// The answer to its report may hold the next assignment: another attempt, with
// a token, a nonce and URLs of its own. The directory is emptied for it. After
// a failure that may heal the transcoder asks for no further assignment,
// because the machine may be the reason.
//
// # What it may reach
//
// It reaches only the dispatcher's attempts endpoint and the object store.
// ffmpeg, its only child, needs neither of them and gets nothing of its
// environment.
//
// # When something fails
//
//   - The dispatcher is away: calls are tried again, with pauses of up to 10 s,
//     until it is back. The work goes on meanwhile.
//   - The object store is away, or breaks a connection: reading resumes where
//     it stopped, storing starts anew, until [Options.Patience] has passed
//     without a byte. Then the attempt is handed back. An expired URL is replaced
//     by a fresh one from the next report.
//   - This machine is not well: its disk is full or cannot be written, ffmpeg is
//     missing or cannot be started, no memory is left. The result names the
//     fault, and the attempt does not count.
//   - Nothing moves for [Options.Silence]: no byte is read, no sound is encoded, no
//     file grows. ffmpeg is killed and the attempt fails in a way that may heal.
//   - The source is gone, changed or not convertible: the attempt fails for
//     good.
//   - The dispatcher says stop, or another attempt is the current one: ffmpeg
//     is killed at once and no result is reported. The process ends. Only if
//     the attempt was not its first, it goes on with the next file.
//   - SIGTERM: the same, with [attempt.ExitNoReport]; the attempt is lost, not
//     failed.
//   - The process is killed: ffmpeg, which is in its process group, dies with
//     it. The launcher, or the next start in the directory, empties the
//     directory.
//
// Storing is safe to repeat: an attempt writes one object of its own, and the
// dispatcher takes the result only while the attempt is the current one.
//
// The exit codes are in package attempt. Memory does not grow with the size of
// the source. The disk must have room for what is read of the source, and for
// the MP3.
package transcoder
