// Package mp4 reads the index of MP4 and MOV files (ISO/IEC 14496-12, Apple's
// QuickTime File Format). It turns one audio track into a file of its own: a
// new header, and the runs of the source's bytes that follow it. It knows
// neither stores nor HTTP; it needs only an io.ReaderAt.
//
// # What a track's own file is
//
// It has the source's ftyp and moov with everything in it (tags, picture, a list
// of chapters). Of the tracks it has only the chosen one, byte for byte, with new
// chunk offsets. Then comes one mdat with the track's chunks in their order.
// All sizes are known in advance, so header and bytes can be streamed into a
// decoder, which decodes the same audio as from the source.
//
// A demuxer counts time from the first moment of any track. If the chosen track
// is not the first to begin, a second track marks that moment. It has one byte
// of no known codec.
//
// # Untrusted files
//
// A source is whatever somebody uploaded. Every table is checked against the
// size of its box, and no count is trusted when memory is allocated. If
// anything is not understood to the last byte, the package gives a [Reason] to
// read the source as a whole.
package mp4
