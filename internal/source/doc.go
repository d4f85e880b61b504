// Package source reads an uploaded video from an object store. Of an MP4 or MOV
// file it reads only the audio of one track, of any other file everything.
//
// [Open] finds the index with a few ranged requests. [Object.Audio] then
// streams the track as a file of its own (see package mp4), [Object.Whole]
// streams the object as it is, and [Object.Chapters] reads the chapters. Each gives the same bytes in whatever way they
// are read. [Object.Parts] copies extents into a local file, at their own
// offsets, for pictures.
//
// # Two ways to read
//
// Sparse: many small requests at the same time, each for one run of audio and
// perhaps the small gap to the next. Plain: one long answer, whose pictures are
// thrown away. The first way costs requests, the second bytes. A planner
// measures both while it reads, chooses by what the rest of the file would
// take, and may change its mind in the middle. There are ways between the two:
// requests may include larger gaps, even all of them. If the window of one
// connection limits a long answer, many requests at the same time bring more.
//
// # What may go wrong
//
// The object must stay the same: every request carries the ETag of the first
// answer, and an answer that is not the range asked for is an error. After
// broken connections, and answers that may be different next time, a request is
// repeated for as long as Patience allows. Presigned URLs expire; a refused URL
// is replaced.
//
// Memory: the index, the plan, and at most 32 MiB of audio that was read
// ahead, and 4 MiB of parts. Gaps are never held.
package source
