// Package journal remembers what tonearm convert did with each file, so that
// nothing is sent, converted or mailed twice.
//
// It is a SQLite database below the user's state folder. A file has one entry for
// each server and each set of options:
//
//	begun     a conversion was asked for under the entry's key; its upload may
//	          have begun. The same key finds the same conversion again.
//	sent      the video has arrived, and nobody waited for the MP3
//	done      the MP3 was made
//	refused   the server looked at the video and cannot convert it
//
// A file is known again by its path, size and time, and where these differ by the
// SHA-256 of what was sent. Places are where MP3s were saved.
//
// Each write is on the disk before the call returns. So SIGKILL loses nothing, and
// neither does a power cut. Several processes may use the journal at once. What
// versions before 0.2.0 kept of unfinished files is still understood; see Old.
package journal
