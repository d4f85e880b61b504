// Package source reads an uploaded video from an object store: of an MP4 or MOV
// file only one track's audio, of anything else all of it.
//
// [Open] finds the index with a few ranged requests. [Object.Audio] then streams
// the track as a file of its own (see package mp4), [Object.Whole] the object as
// it is. Both give the same bytes however they are read. [Object.Parts] are
// extents at their own places in a local file, for pictures.
//
// # Two ways to read
//
// Sparse: many small requests side by side, each for one run of audio and
// perhaps the small gap to the next. Plain: one long answer, of which the
// pictures are thrown away. The first costs requests, the second bytes. A
// planner measures both while it reads, chooses by what the rest of the file
// would take, and may change its mind in the middle. Between the two, requests
// may reach over larger gaps, even all of them: where one connection's window
// bounds a long answer, many side by side bring more.
//
// # What may go wrong
//
// It is one and the same object throughout: every request carries the first
// answer's ETag, and an answer that is not the range asked for is an error.
// Broken connections and answers that may heal are tried again for as long as
// Patience allows. Presigned URLs run out; a refused one is replaced.
//
// Memory: the index, the plan, and at most 32 MiB of audio that was read
// ahead, and 4 MiB of parts. Gaps are never held.
package source
