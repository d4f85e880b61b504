// Package transcoder carries out one attempt at one conversion, and those that
// the dispatcher has it go on with, one after the other, and ends.
//
// It claims its assignment from the dispatcher with a token that is good for
// that attempt alone, reads the source into a private directory (package source:
// of an MP4 the chosen track's audio alone, and for a cover the part of the pictures
// that it is made of), has ffmpeg make the MP3 meanwhile
// (package media), checks its length, stores it and reports. It is told nothing but two presigned URLs: one object to read, one to write. It
// holds no key of the object store, no database password and no Kubernetes
// token, and links neither.
//
// The answer to its report may hold the next assignment: another attempt, with a
// token, a nonce and URLs of its own, for which the directory is emptied. After a
// failure that may heal it asks for none, as the machine may be why.
//
// # What it may reach
//
// The dispatcher's attempts endpoint and the object store, and nothing else.
// ffmpeg, its only child, needs neither and gets none of its environment.
//
// # When something fails
//
//   - The dispatcher is away: calls are tried again, with pauses of up to 10 s,
//     until it is back. The work goes on meanwhile.
//   - The object store is away, or breaks a connection: reading resumes where
//     it stopped, storing starts anew, until [Options.Patience] passed without a
//     byte. Then the attempt fails in a way that may heal. An expired URL is
//     replaced by a fresh one from the next report.
//   - The source is gone, changed or not convertible: the attempt fails for good.
//   - The dispatcher says stop, or another attempt is the current one: ffmpeg is
//     killed at once and no result is reported. The process ends, or goes on with
//     the next file if it was not its first.
//   - SIGTERM: the same, with [attempt.ExitNoReport]: the attempt is lost, not
//     failed.
//   - It is killed: ffmpeg, in its process group, dies with it. The directory is
//     emptied by the next start in it, or by the launcher.
//
// Storing is safe to repeat: an attempt writes one object of its own, and the
// dispatcher takes the result only while the attempt is the current one.
//
// Exit codes are those of package attempt. Memory does not grow with the
// source; the disk has to hold what is read of it and the MP3.
package transcoder
