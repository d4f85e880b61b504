// Package media turns a video's audio into an MP3 with ffmpeg and checks that
// nothing of it went missing. It knows neither stores nor HTTP.
//
// # Packages
//
// Each package imports only those below it in this list.
//
//   - media: one conversion, the only package that others need
//   - cover: makes the picture in an MP3
//   - encode: makes the frames of an MP3, and checks that nothing went missing
//   - plan: decides what becomes of a source
//   - probe: finds out what a source is
//   - remux: plans what is worth sending of a video
//   - container: reads the outermost layer of a file
//   - ffmpeg: runs ffmpeg on one source
//   - ffmpeg/cage: confines what it runs, as far as the system allows
//   - spool: a file that is read while it is written
//   - id3: writes tags
//   - mp3: reads and writes MP3 files frame by frame
//   - mp4: reads the index of MP4 and MOV files
//   - ebml: reads the elements of a Matroska file
//   - track: chooses one of several audio tracks
//   - unfit: the error for what can never become an MP3
//
// Beside them, mediatest makes and judges media files for tests, and ffmpeg/configure
// is a program for the build.
//
// # The path of one conversion
//
// [Open] or [Follow] reads a file's outermost layer. [Convert] then calls, in this
// order:
//
//   - cover.Make: makes the picture, beside all that follows. At first it only fetches
//     what the picture is made of.
//   - encode.Make: finds out what the source is (probe), plans what becomes of it (plan),
//     makes the frames, checks their length, and has the source's texts and chapters.
//   - id3.Tag.Bytes: makes the tag.
//   - mp3.Read: checks the tag and the frames while they become the file.
//
// # Hostile files
//
// A source is whatever somebody uploaded. ffmpeg gets it as a descriptor of one local
// file, or as a pipe while that file grows, and the files that it writes as
// descriptors too. It tries only the formats and decoders listed in package ffmpeg. It
// runs in a cage (package cage): within limits on time, CPU, memory and output, and on
// Linux without a network, other files, other programs and rights. No video decoder is opened for audio. That is why ffprobe is not used: it
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
// the track of titles where the list is full. Those of a Matroska file are its default
// edition's, without what is hidden (package container). All others are ffmpeg's.
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
// seconds that a decoder plays of the MP3 with those that the source promised. A
// promise is what a track says of itself:
//
//   - An MP4 or MOV that is not fragmented has sample tables and an edit list. If the
//     time table does not count the samples of AAC packets (a recorder wrote times by
//     its own clock), the packets count.
//   - FLAC, TTA, WavPack and MP3 count their samples in a header. WAV, RF64, W64, AIFF,
//     AU and CAF say how many bytes of samples they have. The frames of an MP3 file are
//     counted: where all bytes are there that its header counts, they tell its length.
//   - Ogg has the granules of its pages. They count from the first packet, which need
//     not be at zero, without Opus' pre-skip. The links of a chain are added up.
//   - A fragmented MP4 has the durations in its fragments, if a random access index, a
//     segment index or mehd says that no fragment is missing.
//
// What a container says of all streams together is no promise but an upper bound: a
// subtitle may outlast the sound, and headers may be another file's. The sound may end
// before it if the file has all the bytes that it says it has: a Matroska segment, a
// RIFF file, the packets of an ASF file, an FLV's filesize. Where nothing says so,
// another stream must reach the end. Matroska's DURATION tag of a track goes before the
// segment's Duration. A file is refused for its length only after a look at its packets.
//
// Bytes that are missing mean [conversion.CodeTruncated]: a Matroska segment, RIFF,
// ASF or samples that are longer than the file, a moof without all of its samples, an
// Ogg file whose last page is cut, an FLV that ends within a tag or is shorter than its
// filesize while the sound is too short.
//
// Nothing is promised by MPEG-TS and MPEG-PS, by WebM as browsers record it, an Ogg
// file without its last page, fragments that may lack others, headers with a size of 0
// or all ones, an FLV whose metadata are wrong, and streams without a header. They are
// converted, and LengthChecked is false. All ways to read a file say the same.
//
// If the MP3 is more than 50 ms shorter than promised, the reason is looked for (2 ms
// where samples without loss are counted). If packets are missing, the source is
// truncated. If they are there, they are decoded once more: if more than 250 ms of them
// give no audio, the source is damaged, but if the last ones of a file that counts its
// samples do, it is truncated. A click here and there in a whole file is accepted, as
// any player does. How long packets last by the time table does not matter here.
// Pauses in the source's own timeline are not filled, and silence before the first
// audio is not added. A sample without bytes is a pause. With a start and an end, only
// the audio promised between them must be there.
//
// # Audio
//
// Decoder, filters and encoder run in one ffmpeg, in floating point. Every MP3 is
// also measured by a meter (EBU R128). If the options ask for a loudness, there is
// one run to measure, one to encode and one to measure the MP3. Where peaks must be
// held, the last two may be repeated up to three times. A track that already is MP3
// is not encoded, unless an option requires it.
//
// Of an MP3 file ffmpeg gets the frames alone, if something else stands between them or
// behind them: it would lose a frame there.
//
// A player plays exactly the source's samples. The delay and padding in the
// source's container are respected, and the MP3's own information frame holds
// those of the MP3.
//
// What is unusual about the sound is a note in the result, with its place in the
// MP3: a pause in the source's timeline, packets that could not be decoded, peaks
// above full scale, other parameters.
//
// # Parameters that change midway
//
// Where the sample rate or the channels change, ffmpeg would begin anew with all
// its filters: they forget what they have counted and measured, and a resampler
// loses its tail. Therefore a run of ffmpeg ends at a change, and its work is thrown
// away. Then the source is decoded once to list its stretches, and is planned anew:
// the MP3 gets the highest sample rate that a stretch calls for, and two channels
// if a stretch has them. The record's source keeps the parameters that it begins
// with. From then on, one ffmpeg decodes, with no filter that remembers anything;
// one for each stretch mixes and resamples it; and their sound, joined, flows into
// the level, the meter and the encoder, for which nothing changes. A trim is counted
// in samples on a player's clock over all stretches. Where the container has no
// time stamps, the clock is the count. Files that do not change cost nothing more.
// A source with more than 1000 stretches is refused.
//
// The same source and options give the same bytes with the same ffmpeg on every
// machine of an architecture: it runs on one thread and with the instructions
// that all of them have.
//
// # Edit lists
//
// An MP4 whose edit list shows one stretch of the sound is played by ffmpeg. It gets all
// others wrong: it plays the beginning in place of a pause between two pieces, cuts pieces
// at packets, and knows no rates. Package mp4 therefore says which pieces are played and
// when, and package encode takes them out of the decoded track, to the sample, as
// stretches; where a piece lies before the last one, the track is decoded once more. A
// pause is left out, as elsewhere, and a player's clock goes on in it. A piece with a rate
// is played faster or slower, and so higher or lower. What goes backward is refused, and so
// are pieces of a fragmented file.
//
// # Chains
//
// In a chain of Ogg streams each has a clock of its own. The count of samples through all
// of them is a player's clock.
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
