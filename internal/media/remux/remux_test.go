package remux_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"tonearm/internal/media/mediatest"
	"tonearm/internal/media/mp4"
	"tonearm/internal/media/remux"
)

// video makes a video of 20 s whose pictures are much larger than its sound.
func video(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	inputs := []string{"-f", "lavfi", "-i", "nullsrc=s=320x240:r=10:d=20,geq=random(1)*255:128:128", "-f", "lavfi", "-i", "sine=440:r=48000:d=20"}
	words := append(append(inputs, args...), path)
	if err := mediatest.Make(t.Context(), t.TempDir(), words...); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// asked counts what is read of a file.
type asked struct {
	io.ReaderAt
	bytes atomic.Int64
}

func (a *asked) ReadAt(p []byte, at int64) (int, error) {
	n, err := a.ReaderAt.ReadAt(p, at)
	a.bytes.Add(int64(n))
	return n, err
}

// TestSaves plans what to send of a video of a usual bit rate: a small part of it. Where
// there is an index, little else is read; blocks of pictures are passed by.
func TestSaves(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		read float64 // share of the file, at most
	}{
		"last.mp4":  {[]string{"-c:a", "aac"}, 0.1},
		"first.mp4": {[]string{"-c:a", "aac", "-movflags", "+faststart"}, 0.1},
		"frag.mp4":  {[]string{"-c:a", "aac", "-movflags", "frag_keyframe+empty_moov+default_base_moof"}, 0.3},
		"a.mkv":     {[]string{"-c:a", "aac"}, 0.5},
		"a.ts":      {[]string{"-c:a", "aac"}, 1.1},
	} {
		b := video(t, name, append([]string{"-c:v", "mpeg4", "-q:v", "3", "-g", "10"}, tt.args...)...)
		r := &asked{ReaderAt: bytes.NewReader(b)}
		p, err := remux.New(t.Context(), r, int64(len(b)), remux.Options{})
		if err != nil {
			t.Fatal(err)
		}
		read := float64(r.bytes.Load()) / float64(len(b))
		t.Logf("%s: %d of %d bytes are sent, %.3f of it is read", name, p.Size, len(b), read)
		if p.Whole || p.Reason != "" || p.Size > int64(len(b))/5 || read > tt.read {
			t.Errorf("%s: %d of %d bytes (%q), %.2f of the file is read", name, p.Size, len(b), p.Reason, read)
		}
	}
}

// TestWhole are files that are sent as they are, with the reason.
func TestWhole(t *testing.T) {
	movie, sound := video(t, "a.mp4", "-c:v", "mpeg4", "-c:a", "aac"), video(t, "b.m4a", "-map", "1:a", "-c:a", "aac")
	matroska := video(t, "a.mkv", "-c:v", "mpeg4", "-c:a", "aac")
	stream := video(t, "a.ts", "-c:v", "mpeg4", "-c:a", "aac")
	late := func(name string) []byte {
		return video(t, name, "-c:v", "mpeg4", "-c:a", "aac", "-af", "asetpts=PTS+16/TB")
	}
	fragments := video(t, "f.mp4", "-c:v", "mpeg4", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov+default_base_moof")
	items := slices.Concat(fragments[:bytes.Index(fragments, []byte("moov"))-4], []byte("\x00\x00\x00\x08meta"), fragments[bytes.Index(fragments, []byte("moov"))-4:])
	other := video(t, "b.ts", "-c:v", "mpeg4", "-c:a", "aac", "-tables_version", "1")
	var disc []byte // packets of a Blu-ray without their time stamps
	for b := video(t, "c.ts", "-c:v", "mpeg2video", "-c:a", "ac3", "-mpegts_m2ts_mode", "1"); len(b) >= 192; b = b[192:] {
		disc = append(disc, b[4:192]...)
	}
	// patched is the stream with another byte in the last packet of the sound.
	patched := func(at int, set byte) []byte {
		const packet, sound = 188, 0x101
		b := bytes.Clone(stream)
		last := len(b) - packet
		for binary.BigEndian.Uint16(b[last+1:])&0x1fff != sound {
			last -= packet
		}
		b[last+at] |= set
		return b
	}
	for name, tt := range map[string]struct {
		content []byte
		o       remux.Options
		want    remux.Reason
	}{
		"a frame for a cover":     {movie, remux.Options{Pictures: true}, remux.Pictures},
		"a frame of a Matroska":   {matroska, remux.Options{Pictures: true}, remux.Pictures},
		"a frame of a stream":     {stream, remux.Options{Pictures: true}, remux.Pictures},
		"only sound":              {sound, remux.Options{}, remux.NothingSaved},
		"another container":       {video(t, "a.avi", "-c:v", "mpeg4", "-c:a", "libmp3lame"), remux.Options{}, remux.UnknownContainer},
		"no sound":                {video(t, "c.mp4", "-an", "-c:v", "mpeg4"), remux.Options{}, remux.UnclearTrack},
		"a text":                  {[]byte("Only words."), remux.Options{}, remux.UnknownContainer},
		"nothing":                 {nil, remux.Options{}, remux.UnknownContainer},
		"junk behind an MP4":      {append(bytes.Clone(movie), 1, 2, 3, 4, 5, 6, 7, 8, 9), remux.Options{}, remux.Reason(mp4.Malformed)},
		"junk behind fragments":   {append(bytes.Clone(fragments), 1, 2, 3, 4, 5, 6, 7, 8, 9), remux.Options{}, remux.Reason(mp4.Malformed)},
		"items beside fragments":  {items, remux.Options{}, remux.Reason(mp4.Malformed)},
		"junk behind a Matroska":  {append(bytes.Clone(matroska), 0), remux.Options{}, remux.Unclear},
		"late":                    {late("l.mp4"), remux.Options{}, remux.Late},
		"late in a Matroska":      {late("l.mkv"), remux.Options{}, remux.Late},
		"late in a stream":        {late("l.ts"), remux.Options{}, remux.Late},
		"items in a file":         {append(bytes.Clone(movie), "\x00\x00\x00\x08meta"...), remux.Options{}, remux.Reason(mp4.Malformed)},
		"tables that change":      {append(bytes.Clone(stream), other...), remux.Options{}, remux.Unclear},
		"a Blu-ray's program":     {disc, remux.Options{}, remux.Unclear},
		"a scrambled packet":      {patched(3, 0x80), remux.Options{}, remux.UnclearTrack},
		"a packet with an error":  {patched(1, 0x80), remux.Options{}, remux.Unclear},
		"an unknown stream":       {append(bytes.Clone(stream), append([]byte{'G', 0x43, 0, 0x10}, make([]byte, 184)...)...), remux.Options{}, remux.Unclear},
		"half a packet":           {stream[:len(stream)-100], remux.Options{}, remux.Unclear},
		"a bit rate, of a stream": {stream, remux.Options{Kbps: 128}, remux.VaryingRate},
	} {
		p, content := read(t, tt.content, tt.o)
		if !p.Whole || p.Reason != tt.want || !bytes.Equal(content, tt.content) {
			t.Errorf("%s: %d of %d bytes because of %q, want %q", name, p.Size, len(tt.content), p.Reason, tt.want)
		}
	}
}

// sparse is a file with many zeros behind its first bytes.
type sparse struct {
	first, last []byte
	zeros       int64
}

func (s sparse) ReadAt(p []byte, at int64) (int, error) {
	n := 0
	for ; n < len(p) && at < s.size(); n, at = n+1, at+1 {
		p[n] = 0
		if at < int64(len(s.first)) {
			p[n] = s.first[at]
		} else if i := at - int64(len(s.first)) - s.zeros; i >= 0 {
			p[n] = s.last[i]
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s sparse) size() int64 { return int64(len(s.first)+len(s.last)) + s.zeros }

// TestTooMany: the list of a Matroska's elements is copied in memory, so that a large one
// is not.
func TestTooMany(t *testing.T) {
	b := video(t, "a.mkv", "-c:v", "mpeg4", "-c:a", "aac")
	segment := bytes.Index(b, []byte("\x18\x53\x80\x67"))
	s := sparse{last: b[segment+12:], zeros: 65 << 20}
	const head = 12
	s.first = binary.BigEndian.AppendUint64(bytes.Clone(b[:segment+4]), 1<<56|uint64(head+s.zeros+int64(len(s.last))))
	s.first = binary.BigEndian.AppendUint64(append(s.first, "\x11\x4d\x9b\x74"...), 1<<56|uint64(s.zeros))
	p, err := remux.New(t.Context(), s, s.size(), remux.Options{})
	if err != nil || p.Reason != remux.TooMany {
		t.Errorf("%q, %v", p.Reason, err)
	}
}

// TestTruncated: a file that surely would be refused is refused before it is sent; one
// that may be converted is not.
func TestTruncated(t *testing.T) {
	first := video(t, "a.mp4", "-c:v", "mpeg4", "-c:a", "aac", "-movflags", "+faststart")
	last, matroska := video(t, "b.mp4", "-c:v", "mpeg4", "-c:a", "aac"), video(t, "a.mkv", "-c:v", "mpeg4", "-c:a", "aac")
	fragments := video(t, "c.mp4", "-c:v", "mpeg4", "-g", "10", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov")
	for name, tt := range map[string]struct {
		content []byte
		share   float64
		o       remux.Options
		want    bool
	}{
		"half an MP4":                 {first, 0.5, remux.Options{}, true},
		"an MP4 without its index":    {last, 0.5, remux.Options{}, true},
		"half a Matroska":             {matroska, 0.5, remux.Options{}, true},
		"half of fragments":           {fragments, 0.5, remux.Options{}, true},
		"what is there is enough":     {first, 0.5, remux.Options{End: 5}, false},
		"a part that is cut":          {first, 0.5, remux.Options{Start: 5, End: 15}, true},
		"a part that is not there":    {first, 0.5, remux.Options{Start: 15}, false}, // another code
		"the last bytes are missing":  {first, 0.9999, remux.Options{}, false},       // of the pictures, or a little sound
		"all of it":                   {first, 1, remux.Options{}, false},
		"a Matroska, enough is there": {matroska, 0.5, remux.Options{End: 5}, true}, // refused whatever is wanted
	} {
		b := tt.content[:int(tt.share*float64(len(tt.content)))]
		_, err := remux.New(t.Context(), bytes.NewReader(b), int64(len(b)), tt.o)
		if errors.Is(err, remux.ErrTruncated) != tt.want || err != nil && !tt.want {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// failing gives an error behind some bytes.
type failing struct {
	io.ReaderAt
	from int64
}

var errDisk = errors.New("the disk is broken")

func (f failing) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > f.from {
		return 0, errDisk
	}
	return f.ReaderAt.ReadAt(p, at)
}

// TestErrors: errors of the source and an end of the context are no reasons to send all
// of it.
func TestErrors(t *testing.T) {
	for name, args := range map[string][]string{
		"a.mp4": {"-c:v", "mpeg4", "-c:a", "aac"}, "f.mp4": {"-c:v", "mpeg4", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"},
		"a.mkv": {"-c:v", "mpeg4", "-c:a", "aac"}, "a.ts": {"-c:v", "mpeg4", "-c:a", "aac"},
	} {
		b := video(t, name, args...)
		size := int64(len(b))
		_, err := remux.New(t.Context(), failing{bytes.NewReader(b), size - size/10}, size, remux.Options{})
		if !errors.Is(err, errDisk) {
			t.Errorf("%s on a broken disk: %v", name, err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errDisk)
		if _, err := remux.New(ctx, bytes.NewReader(b), size, remux.Options{}); !errors.Is(err, errDisk) {
			t.Errorf("%s, canceled: %v", name, err)
		}
		p, err := remux.New(t.Context(), bytes.NewReader(b), size, remux.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(p.NewReader()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
