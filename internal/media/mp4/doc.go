// Package mp4 reads the index of MP4 and MOV files (ISO/IEC 14496-12, Apple's
// QuickTime File Format) and makes of one audio track a file of its own: a new
// header, and the runs of the source's bytes that follow it. It knows neither
// stores nor HTTP: all it needs is an io.ReaderAt.
//
// # What a track's own file is
//
// The source's ftyp and moov with all that is in it (tags, picture, chapters),
// but of the tracks only the chosen one, byte for byte, with new chunk offsets;
// then one mdat that holds the track's chunks in their order. All sizes are
// known beforehand, so header and bytes can be streamed into a decoder, which
// hears the same as from the source.
//
// A demuxer counts time from the first moment of any track. Where the chosen
// track is not the first to begin, a second track, one byte of no known codec,
// holds that moment.
//
// # Untrusted files
//
// A source is whatever somebody uploaded. Every table is checked against the
// size of its box, nothing is allocated on the word of a count, and whatever is
// not understood to the last byte is a [Reason] to read the source as a whole.
package mp4
