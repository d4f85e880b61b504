package ffmpeg

import (
	"slices"
	"strings"
)

// formats are the demuxers that may be tried. None of them opens another file
// or address: no playlists, no concatenation, no images, no devices.
var formats = []string{
	"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv", "asf", "mpegts", "mpeg", "mxf", "wtv", "dv",
	"wav", "w64", "aiff", "caf", "au", "amr", "mp3", "aac", "flac", "ogg",
	"ac3", "eac3", "dts", "dtshd", "truehd", "mlp", "tta", "wv",
}

// Decoders maps each codec that is accepted to the decoders that ffmpeg takes
// for it. All of them decode audio.
var Decoders = map[string]string{
	"aac": "aac", "aac_latm": "aac_latm",
	"mp1": "mp1,mp1float", "mp2": "mp2,mp2float", "mp3": "mp3float,mp3",
	"ac3": "ac3", "eac3": "eac3", "dts": "dca", "truehd": "truehd", "mlp": "mlp",
	"opus": "opus", "vorbis": "vorbis", "speex": "speex",
	"flac": "flac", "alac": "alac", "wavpack": "wavpack", "tta": "tta",
	"wmav1": "wmav1", "wmav2": "wmav2", "wmapro": "wmapro", "wmalossless": "wmalossless", "wmavoice": "wmavoice",
	"amr_nb": "amrnb", "amr_wb": "amrwb", "gsm": "gsm", "gsm_ms": "gsm_ms", "qdm2": "qdm2", "qcelp": "qcelp",
	"nellymoser": "nellymoser", "s302m": "s302m",
	"adpcm_ima_qt": "adpcm_ima_qt", "adpcm_ima_wav": "adpcm_ima_wav", "adpcm_ms": "adpcm_ms",
	"adpcm_swf": "adpcm_swf", "adpcm_yamaha": "adpcm_yamaha",
	"pcm_alaw": "pcm_alaw", "pcm_mulaw": "pcm_mulaw", "pcm_bluray": "pcm_bluray", "pcm_dvd": "pcm_dvd",
	"pcm_f32be": "pcm_f32be", "pcm_f32le": "pcm_f32le", "pcm_f64be": "pcm_f64be", "pcm_f64le": "pcm_f64le",
	"pcm_s16be": "pcm_s16be", "pcm_s16le": "pcm_s16le", "pcm_s24be": "pcm_s24be", "pcm_s24le": "pcm_s24le",
	"pcm_s32be": "pcm_s32be", "pcm_s32le": "pcm_s32le", "pcm_s8": "pcm_s8", "pcm_u8": "pcm_u8",
}

// PictureDecoders maps each codec of pictures that is accepted to the decoders
// that ffmpeg takes for it. A run for a cover may open those of the one codec
// alone.
var PictureDecoders = map[string]string{
	"mjpeg": "mjpeg", "png": "png", "bmp": "bmp", "gif": "gif", "webp": "webp",
	"h264": "h264", "hevc": "hevc", "av1": "libdav1d,libaom-av1,av1", "vp8": "vp8", "vp9": "vp9",
	"mpeg1video": "mpeg1video", "mpeg2video": "mpeg2video", "mpeg4": "mpeg4", "h263": "h263", "flv1": "flv", "vp6f": "vp6f",
	"msmpeg4v1": "msmpeg4v1", "msmpeg4v2": "msmpeg4v2", "msmpeg4v3": "msmpeg4",
	"wmv1": "wmv1", "wmv2": "wmv2", "wmv3": "wmv3", "vc1": "vc1", "theora": "theora", "svq1": "svq1", "svq3": "svq3",
	"prores": "prores", "dnxhd": "dnxhd", "dvvideo": "dvvideo",
}

func formatWhitelist() string { return strings.Join(formats, ",") }

func decoderWhitelist() string {
	names := make([]string, 0, len(Decoders))
	for _, d := range Decoders {
		names = append(names, d)
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}
