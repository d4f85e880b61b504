package probe

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"tonearm/internal/conversion"
	"tonearm/internal/media/container"
	"tonearm/internal/media/mp4"
	"tonearm/internal/media/unfit"
)

// amrHeads begin a file of AMR (RFC 4867, section 5).
var amrHeads = map[string]string{"samr": "#!AMR\n", "sawb": "#!AMR-WB\n"}

// Unpack writes a track of AMR to a file of its own if the MP4 packs several frames
// of 20 ms into a sample, as old phones do, and an ffmpeg older than version 7 plays
// only the first of them. It waits until the source is whole. The Input is nil where nothing
// is to be unpacked. The error is an *unfit.Error for sound that such an ffmpeg plays
// wrongly; also where an edit list moves the track, which such phones do not write.
func (in *Input) Unpack(ctx context.Context, info Info, t Track, path string) (*Input, error) {
	const frame = 0.02 // seconds
	if speexTwice(info, t) {
		return nil, unfit.New(conversion.CodeUnsupportedCodec, "The sound is wideband Speex, which this version of ffmpeg plays at half its speed. Tonearm can convert it with ffmpeg 5.")
	}
	if !older(info.FFmpeg, 7) {
		return nil, nil
	}
	if info.Container == "dv" {
		return nil, in.steadyTape(ctx)
	}
	if m := in.structure.MP4; m == nil || m.Fragmented || t.Encrypted || (t.Codec != "amr_nb" && t.Codec != "amr_wb") {
		return nil, nil
	}
	f, err := in.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	defer f.Close()
	m, err := mp4.Read(f, in.bytes)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	track := m.Track(t.id)
	if track == nil || amrHeads[track.Codec] == "" || track.Usual < 1.5*frame {
		return nil, nil
	}
	if track.Delay > 0 || track.Skip != 0 {
		return nil, unfit.New(conversion.CodeUnsupportedCodec, "The file packs several frames of AMR into one and has an edit list, which needs ffmpeg 7 or later.")
	}
	if err := writeAMR(m, track, path); err != nil {
		return nil, nil //nolint:nilerr // ffmpeg will tell what is wrong with the track
	}
	unpacked, err := Open(in.Program, path)
	if err != nil {
		return nil, err
	}
	unpacked.structure = container.Structure{Known: true}
	return unpacked, nil
}

// speexTwice reports whether ffmpeg gives twice as many samples of Speex as there are,
// every other stretch of them noise: newer ones take the frame size in its header for that
// of half the rate, except where it is that. FLV has no header.
func speexTwice(info Info, t Track) bool {
	const narrow = 8000 // Hz
	return t.Codec == "speex" && t.SampleRate > narrow && info.Container != "flv" && !older(info.FFmpeg, 6)
}

// older reports whether an ffmpeg is older than a major version; one without a number
// is new.
func older(version string, than int) bool {
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n < than
}

// steadyTape refuses a tape of DV on which the sampling frequency of the sound
// changes: an ffmpeg older than version 7 plays all of it with the first one.
func (in *Input) steadyTape(ctx context.Context) error {
	f, err := in.Open(ctx)
	if err != nil {
		return fmt.Errorf("look at the tape: %w", err)
	}
	defer f.Close()
	if container.DVChanges(f, in.bytes) {
		return unfit.New(conversion.CodeUnsupportedCodec, "The sound of this DV tape changes its sample rate midway, which needs ffmpeg 7 or later.")
	}
	return nil
}

func writeAMR(m *mp4.Movie, t *mp4.Track, path string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	_, err = w.WriteString(amrHeads[t.Codec])
	if err == nil {
		err = m.WriteSamples(t, w)
	}
	if flushed := w.Flush(); err == nil {
		err = flushed
	}
	if closed := out.Close(); err == nil {
		err = closed
	}
	return err
}
