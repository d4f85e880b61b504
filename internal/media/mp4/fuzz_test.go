package mp4_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"tonearm/internal/media/mediatest"
	"tonearm/internal/media/mp4"
)

// seeds adds whole files without their pictures and audio.
func seeds(f *testing.F) {
	dir := f.TempDir()
	for name, args := range map[string][]string{
		"aac.mp4":  {"-c:v", "mpeg4", "-c:a", "aac", "-movflags", "+faststart"},
		"late.mov": {"-c:v", "mpeg4", "-c:a", "pcm_s24be", "-movflags", "+faststart", "-af", "asetpts=PTS+1/TB", "-timecode", "01:00:00:00"},
		"ima4.mov": {"-map", "1:a", "-c:a", "adpcm_ima_qt", "-movflags", "+faststart"},
	} {
		path := filepath.Join(dir, name)
		mediatest.Video(f, path, 0.3, 440, args...)
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:bytes.Index(b, []byte("mdat"))+4], uint32(len(b)))
		mediatest.Remux(f, path, path, mediatest.Layout{ChunkSeconds: 0.1, First: true, Long: name == "aac.mp4", Compact: true, Edits: [][2]float64{{0.1, -1}, {0.2, 0}}})
		if b, err = os.ReadFile(path); err != nil {
			f.Fatal(err)
		}
		f.Add(b[:bytes.Index(b, []byte("mdat"))+4], uint32(len(b)))
	}
	nested := []byte("\x00\x00\x00\x08free")
	for _, kind := range []string{"mdia", "mdia", "mdia", "mdia", "trak", "moov"} {
		nested = append(append(binary.BigEndian.AppendUint32(nil, uint32(len(nested)+8)), kind...), nested...)
	}
	f.Add(nested, uint32(1000))
}

// padded is a file that holds zeros behind its first bytes.
type padded []byte

func (p padded) ReadAt(b []byte, at int64) (int, error) {
	clear(b)
	if at >= 0 && at < int64(len(p)) {
		copy(b, p[at:])
	}
	return len(b), nil
}

// FuzzPlan reads untrusted indexes. A plan stays within the file, and the
// track's own file has a plan of the same bytes.
func FuzzPlan(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte, size uint32) {
		m, err := mp4.Read(padded(b), int64(size%(4<<20)))
		if err != nil {
			t.Fatal(err)
		}
		if m.End < 0 {
			t.Errorf("ends at %d", m.End)
		}
		heads, err := m.Heads()
		reasonable(t, err)
		apart(t, m, heads)
		chapters, count, err := m.Chapters(func(where []mp4.Extent) ([][]byte, error) {
			texts := make([][]byte, len(where))
			for i, e := range where {
				if e.Size > 4<<10 || e.End() > m.Size {
					t.Fatalf("a title of %d bytes at %d", e.Size, e.Offset)
				}
				texts[i] = make([]byte, e.Size)
			}
			return texts, nil
		})
		if err != nil || len(chapters) > mp4.MaxChapters || count < len(chapters) {
			t.Fatalf("%d of %d chapters, %v", len(chapters), count, err)
		}
		for i, track := range m.Tracks {
			for _, w := range []mp4.Window{{To: 0.1}, {From: 2, To: 3}, {From: 0.1, To: 60, Keys: 3}} {
				part, err := m.Shown(track, w)
				reasonable(t, err)
				apart(t, m, part.Extents)
			}
			if i > 3 {
				break
			}
		}
		for i, track := range m.AudioTracks() {
			if track.Seconds < 0 || i > 3 {
				break
			}
			p, err := m.Plan(track)
			if reasonable(t, err); err != nil {
				continue
			}
			if sum := apart(t, m, p.Extents); sum != p.Bytes {
				t.Fatalf("%d bytes in the extents, %d in the plan", sum, p.Bytes)
			}
			again(t, p)
		}
	})
}

// apart checks that extents lie within the file, one behind the other, and sums
// them up.
func apart(t *testing.T, m *mp4.Movie, extents []mp4.Extent) (sum int64) {
	t.Helper()
	end := int64(0)
	for _, e := range extents {
		if e.Offset < end || e.Size <= 0 || e.End() > m.Size {
			t.Fatalf("extent %+v behind %d in %d bytes", e, end, m.Size)
		}
		end, sum = e.End(), sum+e.Size
	}
	return sum
}

func reasonable(t *testing.T, err error) {
	t.Helper()
	var reason mp4.Reason
	if err != nil && !errors.As(err, &reason) {
		t.Fatal(err)
	}
}

// again plans the track's own file.
func again(t *testing.T, p mp4.Plan) {
	t.Helper()
	size := int64(len(p.Header)) + p.Bytes
	m, err := mp4.Read(padded(p.Header), size)
	if err != nil || m.End != size || len(m.AudioTracks()) != 1 {
		t.Fatalf("own file: %v, ends at %d of %d, %d tracks", err, m.End, size, len(m.AudioTracks()))
	}
	q, err := m.Plan(m.AudioTracks()[0])
	if err != nil {
		t.Fatalf("own file: %v", err)
	}
	if want := (mp4.Extent{Offset: int64(len(p.Header)), Size: p.Bytes}); len(q.Extents) != 1 || q.Extents[0] != want {
		t.Fatalf("own file: %+v, want %+v", q.Extents, want)
	}
}
