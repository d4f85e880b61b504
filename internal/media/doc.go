// Package media turns a video's audio into an MP3 with ffmpeg and checks that
// nothing of it went missing. It knows neither stores nor HTTP.
//
// # Rooms
//
// [Open] or [Follow] reads a file's outermost layer (package probe, with container
// and mp4). [Convert] then goes through the packages in this order:
//
//   - encode.New finds out what the source is (probe) and plans what becomes of it
//     (plan). On a guess it begins to encode at once.
//   - cover.New begins to fetch the pictures that a cover is made of.
//   - Job.Run of encode makes the frames (mp3) and checks their length.
//   - Job.Meta has the source's tags, Input.Chapters its chapters, Job.Timeline
//     where they are in the MP3, and Job.Make of cover the picture; all go into the
//     tag (id3).
//   - The tag and the frames become the file.
//
// All of them run ffmpeg through package ffmpeg, and refuse a source with an error
// of package unfit.
//
// # Hostile files
//
// A source is whatever somebody uploaded. ffmpeg sees it as one local file in a
// private directory, or as a pipe while that file grows. It may open nothing
// but local files, or nothing at all. It tries only the formats and decoders
// listed in package ffmpeg, and runs within limits on time, CPU, memory and
// output. No video decoder is opened for audio. That is why ffprobe is not used: it
// opens a decoder for every stream, and gives up if it may not. Package probe uses
// ffmpeg itself to describe the file instead.
//
// A cover has an ffmpeg run of its own. That run may open the decoder of the
// picture's codec and no decoder of audio. It has a minute of time, and as much
// memory as any other run; only on a GPU does just the container's memory limit
// apply, since CUDA maps far more than it uses. The run returns bare pixels.
// The JPEG is made from these, so that nothing that the picture says about
// itself gets into the MP3. A cover that cannot be made is a note in the
// result, never a failure. If the source is the audio alone, the pictures come
// from elsewhere (cover.Pictures).
//
// Of the source's own texts the MP3 repeats only title, artist, album, date,
// genre, comment, number and chapters, and no places or devices.
//
// # Texts and chapters
//
// ffmpeg says what a source's tags are. Bytes that are no UTF-8 are taken for
// Windows-1252, whatever the format says, and so are control characters that come
// of reading it as ISO 8859-1; UTF-8 that was read as ISO 8859-1 is read again.
// However long texts are, only the part that the MP3 repeats is held, and they hide
// nothing of what ffmpeg says about the streams.
//
// Chapters of an MP4 come from its index (package mp4): from the list in it, or from
// the track of titles where the list is full. All others are ffmpeg's.
//
// A pause in the source's own timeline is not in the MP3. Every chapter is moved by
// the pauses before it, in all formats; of a chapter with a pause in it the rest
// is left, and one that lies wholly in a pause vanishes (encode.Timeline). The
// last one ends with the MP3. A chapter without an end, or of no length, lasts
// until the next one.
//
// If a track cannot be decoded or is encrypted, another one is taken, unless the
// options name one.
//
// # What counts as whole
//
// ffmpeg ends with success on half a file. Package encode therefore compares the
// seconds that a decoder plays of the MP3 with those that the source promised:
//
//   - An MP4 or MOV that is not fragmented promises the length of each track,
//     in its sample tables and edit list.
//   - Elsewhere the container promises a length for all its streams together.
//     Audio may end before the picture: the promise is kept if any stream
//     reaches the end, and all packets of the audio were decoded.
//   - A Matroska segment, a RIFF file, an ASF file and a fragmented MP4 say how
//     many bytes they have; fewer mean [conversion.CodeTruncated].
//   - MPEG-TS, MPEG-PS, WebM as browsers record it, an Ogg file without its
//     last page and streams without a header promise nothing: they are
//     converted, and LengthChecked is false.
//
// If the MP3 is more than 50 ms shorter than promised, the reason is looked
// for. If packets are missing, the source is truncated. If they are there, but
// more than 250 ms of them could not be decoded, it is damaged. A click here
// and there in a whole file is accepted, as any player does. Pauses in the
// source's own timeline are not filled, and silence before the first audio is
// not added. With a start and an end, only the audio promised between them must
// be there.
//
// # Audio
//
// Decoder, filters and encoder run in one ffmpeg, in floating point. Every MP3 is
// also measured by a meter (EBU R128). If the options ask for a loudness, there is
// one run to measure, one to encode and one to measure the MP3. Where peaks must be
// held, the last two may be repeated up to three times. A track that already is MP3
// is not encoded, unless an option requires it.
//
// A player plays exactly the source's samples. The delay and padding in the
// source's container are respected, and the MP3's own information frame holds
// those of the MP3.
//
// The same source and options give the same bytes with the same ffmpeg on every
// machine of an architecture: it runs on one thread and with the instructions
// that all of them have.
//
// # A source that still comes
//
// Where the container can be played from its beginning to its end, ffmpeg reads
// a source as it grows (probe.Growing), so that the encoding does not wait for it.
// Any other run of ffmpeg waits until it is whole. The MP3 is the same, byte for
// byte.
//
// # One run for both
//
// What an MP4 or a Matroska file says about its audio is usually what ffmpeg
// finds. Package encode relies on it: the run that looks at the source also begins
// to encode. If the plan for what was found is the one that it began with, its work
// is kept. Otherwise the work is thrown away, and one run follows the other.
//
// # All cores
//
// A source that promises two or more chunks of audio is decoded once and encoded
// chunk by chunk, as many at a time as there are CPUs; package mp3 joins the
// frames. The bytes are the same for any number of CPUs. A decoder plays the same
// as from the frames of a single encoder, except for a few where LAME had other
// room in its bit reservoir. That happens with constant bit rates below 160 kbit/s,
// and with beats so loud that they need more than the highest bit rate.
package media
