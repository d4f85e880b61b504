package ffmpeg

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// configureNames are configure's names of components that have another one in a
// running ffmpeg.
var configureNames = map[string]string{"f32le": "pcm_f32le", "mpeg": "mpegps", "msmpeg4": "msmpeg4v3"}

// recognized are demuxers that are never opened. ffmpeg asks them which codec a
// stream has, where an MPEG program stream or a WAV file does not say so; without them it takes
// pictures for sound.
var recognized = []string{"av1", "dvbsub", "dvbtxt", "evc", "h264", "hevc", "loas", "m4v", "mjpeg_2000", "mpegvideo", "spdif", "vvc"}

// Components returns what Tonearm uses of ffmpeg, by the kinds that
// ffmpeg's configure has: demuxer, decoder, parser, filter, encoder, muxer and
// protocol. The names are configure's. A build with these and nothing else does
// all that it needs, except with a GPU. Parsers serve the demuxers.
func Components() map[string][]string {
	c := map[string][]string{
		"demuxer": append([]string{"ffmetadata", "pcm_f32le"}, recognized...),
		"muxer":   {"mp3", "null", "pcm_f32le", "framecrc", "ffmetadata", "image2pipe"},
		"encoder": {"libmp3lame", "pcm_f32le", "pcm_s16le", "pam", "wrapped_avframe"}, // pcm_s16le and wrapped_avframe for null
		"parser": {
			"aac", "aac_latm", "ac3", "amr", "av1", "dca", "dnxhd", "flac", "gif", "gsm", "h263", "h264", "hevc", "mjpeg", "mlp",
			"mpeg4video", "mpegaudio", "mpegvideo", "opus", "png", "vc1", "vorbis", "vp3", "vp8", "vp9", "webp",
		},
		"filter": {
			"aformat", "asetpts", "asetrate", "asettb", "ashowinfo", "atrim", "aresample", "pan", "volume", "alimiter", "ebur128", "anull",
			"settb", "setpts", "fps", "scale", "setsar", "thumbnail", "format", "null", "trim", "hflip", "vflip", "transpose",
		},
		"protocol": {"file", "pipe"},
	}
	for _, names := range formats {
		name, _, _ := strings.Cut(names, ",")
		c["demuxer"] = append(c["demuxer"], cmp.Or(configureNames[name], name))
	}
	for _, list := range slices.Concat(slices.Collect(maps.Values(Decoders)), slices.Collect(maps.Values(PictureDecoders))) {
		for name := range strings.SplitSeq(list, ",") {
			if name != "libaom-av1" { // libdav1d reads the same
				c["decoder"] = append(c["decoder"], cmp.Or(configureNames[name], name))
			}
		}
	}
	for kind := range c {
		slices.Sort(c[kind])
		c[kind] = slices.Compact(c[kind])
	}
	return c
}
