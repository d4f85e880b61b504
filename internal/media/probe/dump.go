package probe

import (
	"bufio"
	"regexp"
	"strconv"
	"strings"

	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mp4"
)

var (
	reVersion  = regexp.MustCompile(`^ffmpeg version (\S+)`)
	reInput    = regexp.MustCompile(`^(?:\[.*Unsupported encoding type)?Input #0, (\S+), from '`) // ffmpeg does not end that line
	reDuration = regexp.MustCompile(`^  Duration: (?:N/A|(\d+):(\d\d):(\d\d\.\d+))(?:, start: (-?\d+\.\d+))?`)
	reStream   = regexp.MustCompile(`^  Stream #0:(\d+)(?:\[0x([0-9a-f]+)\])?(?:\(([^)]*)\))?: (\w+): (.*)`)
	reLetters  = regexp.MustCompile(`^[^,]*\(([\w.-]{4}) / 0x[0-9A-F]{8}\)`)
	reNumber   = regexp.MustCompile(`^[^,]*\(.* / (0x[0-9A-F]{4})\)`)
	reName     = regexp.MustCompile(`^[\w./-]+$`)
	reRate     = regexp.MustCompile(`, (\d+) Hz(?:, ([^,]+))?`)
	reBitrate  = regexp.MustCompile(`, (\d+) kb/s`)
	reLowScore = regexp.MustCompile(`detected only with low score of (\d+)`)
	reDigits   = regexp.MustCompile(`\d+`)
)

// misdetected reports that ffmpeg only guessed the format. A short but whole
// MP3 file scores 25.
func misdetected(stderr string) bool {
	m := reLowScore.FindStringSubmatch(stderr)
	if m == nil {
		return false
	}
	score, err := strconv.Atoi(m[1])
	return err != nil || score < 25
}

// parseDump reads ffmpeg's description of its input, the part of stderr from
// "Input #0" on. The source's tags may put lines of their own there. Such a
// source lies only about itself, and the limits on the result apply all the
// same.
func parseDump(stderr string) Info {
	var info Info
	promised := !strings.Contains(stderr, "Estimating duration from bitrate")
	lines := bufio.NewScanner(strings.NewReader(stderr))
	lines.Buffer(nil, len(stderr)+1)
	for lines.Scan() {
		line := lines.Text()
		if m := reVersion.FindStringSubmatch(line); m != nil && info.FFmpeg == "" {
			info.FFmpeg = m[1]
		}
		if m := reInput.FindStringSubmatch(line); m != nil {
			info.Container = m[1]
		}
		if info.Container == "" {
			continue
		}
		if strings.HasPrefix(line, "Output #0") || strings.HasPrefix(line, "Stream mapping:") {
			break
		}
		if m := reDuration.FindStringSubmatch(line); m != nil {
			h, _ := strconv.ParseFloat(m[1], 64)
			minutes, _ := strconv.ParseFloat(m[2], 64)
			s, _ := strconv.ParseFloat(m[3], 64)
			info.Start, _ = strconv.ParseFloat(m[4], 64)
			info.Seconds = h*3600 + minutes*60 + s
		}
		if m := reStream.FindStringSubmatch(line); m != nil {
			info.Streams++
			switch {
			case m[4] == "Audio" && len(info.Tracks) < MaxTracks:
				info.Tracks = append(info.Tracks, parseTrack(m[2], m[3], m[5]))
			case m[4] == "Video" && strings.Contains(m[5], "(timed thumbnails)"): // pictures of an MP4's chapters
			case m[4] == "Video" && strings.Contains(m[5], "(attached pic)"):
				info.Attached.adopt(m[1], m[2], m[5])
			case m[4] == "Video":
				info.Video.adopt(m[1], m[2], m[5])
			}
		}
	}
	// The demuxers of MPEG streams look at the last time stamps instead.
	if !promised || info.Container == "mpegts" || info.Container == "mpeg" {
		info.Seconds = 0
	}
	return info
}

// parseTrack takes the container's four letters for a codec that cannot be
// decoded, or its number. It reads "aac (LC) (mp4a / 0x6134706D), 48000 Hz, mono, fltp, 69 kb/s (default)".
func parseTrack(id, language, desc string) Track {
	var t Track
	n, _ := strconv.ParseUint(id, 16, 32)
	t.id = uint32(n)
	t.Codec, _, _ = strings.Cut(desc, " ")
	t.Codec = strings.TrimSuffix(t.Codec, ",")
	if m := reLetters.FindStringSubmatch(desc); m != nil {
		t.Encrypted = mp4.Protects(m[1])
		if ffmpeg.Decoders[t.Codec] == "" {
			t.Codec = m[1] // ffmpeg may have no name for it
		}
	} else if m := reNumber.FindStringSubmatch(desc); m != nil && t.Codec == unnamed { // of a WAVEFORMATEX
		t.Codec = m[1]
	}
	if language != "und" {
		t.Language = language
	}
	t.Default = strings.Contains(desc, "(default)")
	if m := reRate.FindStringSubmatch(desc); m != nil {
		t.Ambisonic = strings.HasPrefix(m[2], "ambisonic ")
		t.SampleRate, _ = strconv.Atoi(m[1])
		t.Channels = channelCount(m[2])
	}
	if m := reBitrate.FindStringSubmatch(desc); m != nil {
		t.Kbps, _ = strconv.Atoi(m[1])
	}
	return t
}

// channelCount reads the name of a channel layout: mono, 5.1(side), 7.1.4,
// quad, 16 channels (…). It returns 0 for unknown names.
func channelCount(layout string) int {
	name, _, _ := strings.Cut(layout, "(")
	name = strings.TrimSpace(name)
	switch name {
	case "mono":
		return 1
	case "stereo", "downmix", "binaural":
		return 2
	case "quad":
		return 4
	case "hexagonal":
		return 6
	case "octagonal", "cube":
		return 8
	case "hexadecagonal":
		return 16
	}
	if order, ok := strings.CutPrefix(name, "ambisonic "); ok { // with other channels behind it
		order, beside, _ := strings.Cut(order, "+")
		n, err := strconv.Atoi(strings.TrimSpace(order))
		if err != nil || n < 0 || n > 14 {
			return 0
		}
		return (n+1)*(n+1) + channelCount(beside)
	}
	if n, ok := strings.CutSuffix(name, " channels"); ok {
		name = n
	}
	if strings.Trim(name, "0123456789.") != "" {
		return 0
	}
	total := 0
	for _, d := range reDigits.FindAllString(name, 4) {
		n, _ := strconv.Atoi(d)
		total += n
	}
	return total
}

// adopt takes the stream unless there is one already. desc is ffmpeg's
// description, such as "h264 (High) (avc1 / 0x31637661), none, 64x48".
func (p *Picture) adopt(stream, id, desc string) {
	if p.Stream == "" {
		codec, _, _ := strings.Cut(desc, " ")
		n, _ := strconv.ParseUint(id, 16, 32)
		*p = Picture{stream, strings.TrimSuffix(codec, ","), uint32(n)}
	}
}
