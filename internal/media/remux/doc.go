// Package remux makes of a video the file that is worth sending: the same container
// with one audio track and without the pictures. Nothing is decoded. It needs only an
// io.ReaderAt, no store, no HTTP and no operating system, and it builds for
// WebAssembly.
//
// # The rule
//
// The MP3 of the copy is the MP3 of the whole file, byte for byte, for every option,
// and a refusal has the same code. The record says the same of the source: its length,
// codec, tracks, tags, chapters and notes. Only its size in bytes is that of the copy.
// Wherever that is not sure, [New] gives the whole file and says why. TestMediaSent of
// package media holds it to that.
//
// # What a copy is
//
// All that a container says of itself stays: its header, tags, pictures that are
// attached, chapters, and the list of all tracks. So the converter counts the tracks as
// in the whole file, and chooses the same one; the choice is made here by the same code
// (package track), where what the header says is enough for it. Of the other tracks only
// what tells when the whole begins is kept, because a player's clock, on which options
// and chapters count, begins with the first track.
//
//   - MP4 and MOV: see mp4.Movie.Remux. The tables of the other tracks are empty.
//   - Fragmented MP4: see mp4.Movie.RemuxFragments. Of each other track the first
//     sample is kept.
//   - Matroska and WebM: the segment has the same elements in the same order, without
//     the index (Cues) and padding; clusters have the chosen track's blocks. Of a track
//     that begins before it the first 24 blocks are kept. The list of elements
//     (SeekHead) has their new places.
//   - MPEG transport streams: the tables, and the packets of the track. Of every other
//     stream the first 24 PES packets are kept.
//
// # What a demuxer sees before it plays
//
// Package ffmpeg has a demuxer look at up to 30 s or 32 MiB before it plays. It ends
// earlier where it knows all tracks, which it does in the whole file and not in a copy,
// where some have no packets. Of many codecs it reads every frame meanwhile, and takes
// the sample rate and the channels from the last one. So a track of such a codec goes
// alone only if its first 40 s are of one form (watch), and only if it begins so soon
// that it is seen in both files.
//
// # What says that bytes are missing
//
// A copy promises what the source promises. Where a container tells how many bytes it
// has, the copy tells how many it has itself; where it does not, the copy does not
// either. A recording of unknown size that tells its length, and anything that does not
// end with a whole element, is sent as it is. A source that surely would be refused as
// truncated is [ErrTruncated]: its container is longer than the file, or samples of the
// track within the trim lie behind the file's end.
//
// # Untrusted files
//
// A source is whatever somebody has. Counts and sizes in it are checked against the
// file. What is held in memory grows with the number of pieces that a copy is made of,
// which is limited, and not with the file.
package remux
