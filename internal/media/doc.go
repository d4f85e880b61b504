// Package media turns a video's audio into an MP3 with ffmpeg and checks that
// nothing of it went missing. It knows neither stores nor HTTP.
//
// # Hostile files
//
// A source is whatever somebody uploaded. ffmpeg sees it as one local file in a
// private directory, or as a pipe while that file grows, may open nothing but
// local files, or nothing at all, tries only the formats
// and decoders listed in formats.go, and runs within limits on time, CPU,
// memory and output. No video decoder is opened for audio. That is why ffprobe
// is not used: it opens a decoder for every stream and gives up where it may not.
// [FFmpeg.Probe] has ffmpeg itself describe the file instead.
//
// A cover takes a run of its own, which may open the decoder of that one
// picture's codec and none of audio, a minute of time, and as much memory as
// any other; only on a GPU is memory left to the container's limit, since CUDA
// maps far more than it uses. What comes out are bare pixels: the JPEG is made
// of those, so that nothing the picture says about itself gets into the MP3. A
// cover that cannot be had is a note in the result, never a failure. Where the
// source is the audio alone, the pictures come from elsewhere ([Pictures]).
//
// Of the source's own texts the MP3 repeats title, artist, album, date, genre,
// comment, number and chapters. Places, devices and all else stay behind.
//
// # What counts as whole
//
// ffmpeg ends with success on half a file. [FFmpeg.Encode] therefore compares the
// seconds that a decoder plays of the MP3 with those that the source promised:
//
//   - An MP4 or MOV that is not fragmented promises the length of each track,
//     in its sample tables and edit list.
//   - Elsewhere the container promises a length for all its streams together.
//     Audio may end before the picture: the promise is kept if any stream
//     reaches the end, and all packets of the audio were decoded.
//   - A Matroska segment, a RIFF file, an ASF file and a fragmented MP4 say how
//     many bytes they have; fewer mean [conversion.CodeTruncated].
//   - MPEG-TS, MPEG-PS, WebM as browsers record it, an Ogg file without its last
//     page and streams without a header promise nothing: they are converted, and LengthChecked is false.
//
// Shorter than promised by more than 50 ms is looked into: where packets are
// missing the source is truncated; where they are there but more than 250 ms of
// them could not be decoded it is damaged. A click here and there in a whole
// file is played over, as any player does. Pauses in the source's own timeline
// are not filled, and silence before the first audio is not added. Where start
// and end are given, only what is promised between them has to be there.
//
// # Audio
//
// Decoder, filters and encoder run in one ffmpeg, in floating point; see
// plan.filters. A meter (EBU R128) runs along for every MP3. A loudness that is
// asked for takes a run to measure, one to encode and one to measure the MP3,
// and up to three more of the last two where peaks have to be held. A track that
// is MP3 already is not encoded unless an option demands it.
//
// A player plays exactly the source's samples: the delay and padding that the
// source's container tells are honoured, and the MP3's own information frame
// tells those of the MP3.
//
// The same source and options give the same bytes with the same ffmpeg on every
// machine of an architecture: it runs on one thread and with the instructions
// that all of them have.
//
// # A source that still comes
//
// Where the container can be played from its beginning to its end, ffmpeg reads
// a source as it grows ([Growing]), so that the encoding does not wait for it.
// Any other run of ffmpeg waits until it is whole. The MP3 is the same, byte for
// byte.
//
// # One run for both
//
// What an MP4 or a Matroska file says of its audio is usually what ffmpeg finds.
// [FFmpeg.Convert] goes by it: the run that looks begins to encode as well, and its
// work is kept where the plan for what was found is the one it was begun with.
// Otherwise it is thrown away, and Probe and Encode follow each other.
//
// # All cores
//
// A source that promises two chunks of audio or more (chunk.go) is decoded once
// and encoded chunk by chunk, as many at a time as there are CPUs; package mp3
// joins the frames. The bytes are the same whatever the number of CPUs. A
// decoder plays what it plays of a single encoder's frames, but for a few where
// LAME had other room in its bit reservoir: constant bit rates below 160 kbit/s,
// and beats so loud that they want more than the highest bit rate.
package media
