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
// Wherever that is not sure, [New] gives the whole file and says why.
package remux
