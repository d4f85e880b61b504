package media_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/media"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/mediatest"
	"tonearm/internal/media/mp4"
)

// TestManyTags: ffmpeg keeps the tags of a file in a list that it searches for each of
// them. What would take it minutes ends with a refusal, and not with another try.
func TestManyTags(t *testing.T) {
	video := filepath.Join(t.TempDir(), "in.mkv")
	mediatest.Video(t, video, 1, 440, "-map", "1:a", "-c:a", "aac")
	b, err := os.ReadFile(video)
	if err != nil {
		t.Fatal(err)
	}
	const idSegment, idCluster = "\x18\x53\x80\x67", "\x1f\x43\xb6\x75"
	segment, cluster := bytes.Index(b, []byte(idSegment)), bytes.Index(b, []byte(idCluster))
	if segment < 0 || cluster < segment {
		t.Fatal("no segment with clusters")
	}
	copy(b[segment+4:], "\x01\xff\xff\xff\xff\xff\xff\xff") // of unknown size
	element := func(id string, content []byte) []byte {
		return slices.Concat([]byte(id), binary.BigEndian.AppendUint64(nil, 1<<56|uint64(len(content))), content)
	}
	var tags []byte
	for i := range 60_000 {
		tags = append(tags, element("\x67\xc8", append(element("\x45\xa3", fmt.Appendf(nil, "%06x", i)), element("\x44\x87", []byte("v"))...))...)
	}
	b = slices.Concat(b[:cluster], element("\x12\x54\xc3\x67", element("\x73\x73", tags)), b[cluster:])
	if err := os.WriteFile(video, b, 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := media.Open(ffmpeg.Program{Path: mediatest.FFmpeg(t), Look: time.Second}, video)
	if err != nil {
		t.Fatal(err)
	}
	_, err = media.Convert(t.Context(), in, media.Spec{Target: filepath.Join(t.TempDir(), "out.mp3")})
	if codeOf(err) != conversion.CodeLimitExceeded || !strings.Contains(err.Error(), "tags") {
		t.Errorf("got %v", err)
	}
}

// TestManyEdits: each edit makes a player decode what stands before it.
func TestManyEdits(t *testing.T) {
	video := filepath.Join(t.TempDir(), "in.m4a")
	mediatest.Video(t, video, 1, 440, "-map", "1:a", "-c:a", "aac")
	b, err := os.ReadFile(video)
	if err != nil {
		t.Fatal(err)
	}
	moov, elst := bytes.Index(b, []byte("moov")), bytes.Index(b, []byte("elst"))
	if moov < bytes.Index(b, []byte("mdat")) || elst < moov {
		t.Fatal("the index stands first, or has no edit list")
	}
	size := int(binary.BigEndian.Uint32(b[elst-4:]))
	entry := b[elst-4+size-12 : elst-4+size]
	more := bytes.Repeat(entry, mp4.MaxEdits)
	for _, kind := range []string{"moov", "trak", "edts", "elst"} {
		at := bytes.Index(b, []byte(kind)) - 4
		binary.BigEndian.PutUint32(b[at:], binary.BigEndian.Uint32(b[at:])+uint32(len(more)))
	}
	count := b[elst+8:]
	binary.BigEndian.PutUint32(count, binary.BigEndian.Uint32(count)+mp4.MaxEdits)
	b = slices.Concat(b[:elst-4+size], more, b[elst-4+size:])
	if err := os.WriteFile(video, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = media.Open(ffmpeg.Program{Path: mediatest.FFmpeg(t)}, video)
	if refused := (*media.Error)(nil); !errors.As(err, &refused) || refused.Code != conversion.CodeLimitExceeded {
		t.Errorf("got %v", err)
	}
}
