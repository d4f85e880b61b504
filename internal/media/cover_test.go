package media_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	reader "github.com/dhowden/tag"

	"tonearm/internal/conversion"
	"tonearm/internal/media/id3"
)

// coverOf is the picture in an MP3, nil for none.
func coverOf(t *testing.T, path string) (image.Image, []byte) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := reader.ReadFrom(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if m.Picture() == nil {
		return nil, nil
	}
	img, err := jpeg.Decode(bytes.NewReader(m.Picture().Data))
	if err != nil {
		t.Fatal(err)
	}
	streams := ffprobe(t, path).Streams
	if s := streams[len(streams)-1]; s.CodecName != "mjpeg" || s.Disposition["attached_pic"] != 1 ||
		s.Width != img.Bounds().Dx() || s.Height != img.Bounds().Dy() {
		t.Errorf("ffprobe finds %+v", s)
	}
	return img, m.Picture().Data
}

// colour returns the name of the colour nearest to the middle of a picture;
// empty for no picture.
func colour(img image.Image) string {
	if img == nil {
		return ""
	}
	b := img.Bounds()
	r, g, bl, _ := img.At((b.Min.X+b.Max.X)/2, (b.Min.Y+b.Max.Y)/2).RGBA()
	name := ""
	for _, c := range []struct {
		level uint32
		name  string
	}{{r, "red"}, {g, "green"}, {bl, "blue"}} {
		if c.level > 0x8000 {
			name += c.name
		}
	}
	if name == "" {
		return "black"
	}
	return name
}

// threeColours are a second each of red, green and blue, ten frames a second.
var threeColours = []string{
	"-f", "lavfi", "-i", "color=red:s=96x64:r=10:d=1,format=yuv420p[a];color=lime:s=96x64:r=10:d=1,format=yuv420p[b];" +
		"color=blue:s=96x64:r=10:d=1,format=yuv420p[c];[a][b][c]concat=n=3",
	"-f", "lavfi", "-i", "sine=d=3",
}

func TestCoverAtTime(t *testing.T) {
	dir := t.TempDir()
	const x264 = "-c:v libx264 -preset ultrafast -bf 2 -x264-params keyint=250:scenecut=0 -c:a aac"
	exact := map[string]string{
		"0": "red", "0.95": "red", "0.999": "red", "1": "green", "1.05": "green", "1.99": "green", "2.01": "blue", "2.95": "blue", "3.5": "", "1e6": "",
	}
	// Audio may begin up to a frame before the pictures, depending on its
	// encoder.
	roughly := map[string]string{"0": "red", "0.95": "red", "1.15": "green", "2.15": "blue", "3.5": ""}
	for _, tt := range []struct {
		name, args string
		want       map[string]string
	}{
		{"a.mp4", x264, exact}, {"b.mov", "-c:v mjpeg -c:a pcm_s16le", exact}, {"c.mkv", x264, roughly}, {"d.ts", x264, roughly},
		{"e.webm", "-c:v libvpx -c:a libopus", roughly}, {"f.avi", "-c:v mpeg4 -c:a libmp3lame", roughly},
		{"g.mpg", "-c:v mpeg2video -c:a mp2", roughly}, {"h.wmv", "-c:v wmv2 -c:a wmav2", roughly}, {"i.flv", "-c:v flv -c:a libmp3lame", roughly},
		{"j.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=none -c:a aac", roughly}, {"k.mkv", "-c:v libaom-av1 -cpu-used 8 -c:a flac", roughly},
		{"l.mp4", "-c:v libvpx-vp9 -c:a aac", roughly}, {"m.ogg", "-c:v libtheora -c:a libvorbis", map[string]string{"0": "red", "1.05": "green", "3.5": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			source := filepath.Join(dir, tt.name)
			installed(t, dir, append(append(append([]string{}, threeColours...), strings.Fields(tt.args)...), source)...)
			for at, want := range tt.want {
				made, target := tagOf(t, source, conversion.Options{Cover: conversion.Cover(at)})
				img, _ := coverOf(t, target)
				if none := slices.Contains(codes(made.Notes), conversion.NoteNoCover); none != (want == "") {
					t.Errorf("at %s s: notes %v", at, made.Notes)
				}
				if got := colour(img); got != want {
					t.Errorf("at %s s: %s, want %s", at, got, want)
				}
			}
		})
	}
}

func TestPoster(t *testing.T) {
	dir := t.TempDir()
	// Black at both ends; what is in between is what the video is about.
	shown := func(seconds string, dark string) []string {
		return []string{"-f", "lavfi", "-i", "color=black:s=96x64:r=10:d=" + dark + "[a];color=lime:s=96x64:r=10:d=" + seconds +
			"[b];color=black:s=96x64:r=10:d=" + dark + "[c];[a][b][c]concat=n=3", "-f", "lavfi", "-i", "sine=d=" + seconds}
	}
	for name, source := range map[string][]string{
		"short.mp4":    shown("4", "1"),
		"long.mp4":     shown("60", "10"),
		"one key.mp4":  append(shown("40", "5"), "-g", "9999", "-sc_threshold", "0"),
		"intra.mov":    append(shown("60", "5"), "-c:v", "mjpeg"),
		"browser.webm": append(shown("4", "0.1"), "-c:v", "libvpx", "-c:a", "libopus", "-live", "1"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(dir, name)
			installed(t, dir, append(source, path)...)
			made, target := tagOf(t, path, conversion.Options{Cover: conversion.CoverPoster, End: 9999})
			img, _ := coverOf(t, target)
			want := "green"
			if strings.HasPrefix(name, "browser") { // its length is not known
				want = colour(img)
			}
			if got := colour(img); got != want || got == "" || made.Cover != conversion.CoverPoster {
				t.Errorf("%s, cover %q, notes %v", got, made.Cover, made.Notes)
			}
		})
	}
}

func TestCoverShape(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name, filter  string
		rotate        bool
		width, height int
	}{
		{"wide.mp4", "scale=1920:1080,setsar=1", false, 1000, 563},
		{"high.mp4", "scale=720:1280,setsar=1", false, 563, 1000},
		{"small.mp4", "scale=64:48,setsar=1", false, 64, 48},
		{"rotated.mp4", "scale=64:48,setsar=1", true, 48, 64},
		{"anamorphic.mp4", "scale=720:576,setsar=64/45", false, 720, 405},
		{"narrow pixels.mp4", "scale=640:480,setsar=1/2", false, 320, 480},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			source := filepath.Join(dir, tt.name)
			installed(t, dir, "-f", "lavfi", "-i", "testsrc=r=10:d=0.5,"+tt.filter, "-f", "lavfi", "-i", "sine=d=0.5",
				"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", source)
			if tt.rotate { // the display matrix in the first tkhd: by a quarter
				matrix := func(n ...int32) string {
					var b []byte
					for _, v := range n {
						b = binary.BigEndian.AppendUint32(b, uint32(v))
					}
					return string(b)
				}
				const one, unit = 1 << 16, 1 << 30
				replace(t, source, matrix(one, 0, 0, 0, one, 0, 0, 0, unit, 64<<16, 48<<16), matrix(0, one, 0, -one, 0, 0, 48<<16, 0, unit, 64<<16, 48<<16))
			}
			_, target := tagOf(t, source, conversion.Options{Cover: "0.1"})
			img, _ := coverOf(t, target)
			if img == nil || img.Bounds().Dx() != tt.width || img.Bounds().Dy() != tt.height {
				t.Errorf("got %v, want %d x %d", img.Bounds(), tt.width, tt.height)
			}
		})
	}
}

// attach makes an MP3 with a picture in its tag, whatever that is.
func attach(t *testing.T, picture []byte) string {
	t.Helper()
	tag, err := id3.Tag{Title: "a", JPEG: picture}.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "in.mp3")
	silence := append([]byte("\xff\xfb\x90\xc4"), make([]byte, 413)...) // a frame: 128 kbit/s, 44.1 kHz, mono
	if err := os.WriteFile(path, append(tag, bytes.Repeat(silence, 40)...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAttachedPicture(t *testing.T) {
	dir := t.TempDir()
	red := image.NewRGBA(image.Rect(0, 0, 90, 60))
	for i := range red.Pix {
		red.Pix[i] = []byte{255, 0, 0, 255}[i%4]
	}
	var coded bytes.Buffer
	if err := jpeg.Encode(&coded, red, nil); err != nil {
		t.Fatal(err)
	}
	exif := "Exif\x00\x00MM\x00*Secret GPS"
	secret := append([]byte("\xff\xd8\xff\xe1\x00"+string(rune(len(exif)+2))+exif), coded.Bytes()[2:]...)
	picture := filepath.Join(dir, "red.jpg")
	if err := os.WriteFile(picture, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string]string{
		"in.m4a": "-map 1:a -map 2 -c:a aac", "in.mp3": "-map 1:a -map 2 -c:a libmp3lame", "in.flac": "-map 1:a -map 2",
		"video.mp4": "-map 0 -map 1 -map 2 -c:v:0 libx264 -pix_fmt yuv420p -c:a aac -disposition:v:1 attached_pic",
		"video.mkv": "-map 0 -map 1 -c:v:0 libx264 -pix_fmt yuv420p -c:a aac -attach red.jpg -metadata:s:t mimetype=image/jpeg -metadata:s:t filename=cover.jpg",
	} {
		source := filepath.Join(dir, name)
		words := append(append([]string{}, threeColours...), "-i", picture)
		words = append(append(words, strings.Fields(args)...), "-c:v:1", "copy", "-disposition:v:0", "attached_pic")
		if strings.HasPrefix(name, "video") {
			words = append(words, "-disposition:v:0", "default")
		} else {
			words = append(words, "-c:v", "copy")
		}
		installed(t, dir, append(words, source)...)
		for cover, want := range map[conversion.Cover]string{"": "red", conversion.CoverAttached: "red", conversion.CoverNone: ""} {
			made, target := tagOf(t, source, conversion.Options{Cover: cover})
			img, data := coverOf(t, target)
			if got := colour(img); got != want || len(made.Notes) != 0 {
				t.Errorf("%s, cover %q: %q, notes %v", name, cover, got, made.Notes)
			}
			if bytes.Contains(data, []byte("Secret")) || bytes.Contains(data, []byte("Lav")) {
				t.Errorf("%s: the cover has metadata", name)
			}
			if want != "" && made.Cover != conversion.CoverAttached {
				t.Errorf("%s: cover is recorded as %q", name, made.Cover)
			}
		}
	}
}

func TestNoPicture(t *testing.T) {
	dir := t.TempDir()
	video, audio := filepath.Join(dir, "video.mp4"), filepath.Join(dir, "sound.m4a")
	installed(t, dir, append(append([]string{}, threeColours...), "-pix_fmt", "yuv420p", video)...)
	installed(t, dir, "-f", "lavfi", "-i", "sine=d=1", audio)
	for _, tt := range []struct {
		source string
		cover  conversion.Cover
		notes  int
	}{
		{video, "", 0}, {video, conversion.CoverNone, 0}, {video, conversion.CoverAttached, 1},
		{audio, "", 0}, {audio, conversion.CoverPoster, 1}, {audio, "0", 1},
	} {
		made, target := tagOf(t, tt.source, conversion.Options{Cover: tt.cover})
		if img, _ := coverOf(t, target); img != nil || len(made.Notes) != tt.notes || made.Cover != "" {
			t.Errorf("%s, cover %q: picture %v, notes %v", filepath.Base(tt.source), tt.cover, img != nil, made.Notes)
		}
	}
}

// TestHostilePictures: the MP3 is made all the same, with a note.
func TestHostilePictures(t *testing.T) {
	noise := image.NewRGBA(image.Rect(0, 0, 200, 200))
	random := rand.New(rand.NewPCG(1, 1))
	for i := range noise.Pix {
		noise.Pix[i] = byte(random.Uint32())
	}
	var whole bytes.Buffer
	if err := jpeg.Encode(&whole, noise, nil); err != nil {
		t.Fatal(err)
	}
	for name, picture := range map[string][]byte{
		"30000 x 30000 pixels": hugePNG(t, 30000),
		"cut":                  whole.Bytes()[:100],
		"svg":                  []byte(`<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>`),
		"playlist":             []byte("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
		"concat":               []byte("ffconcat version 1.0\nfile '/etc/passwd'\n"),
		"nothing":              {0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made, target := tagOf(t, attach(t, picture), conversion.Options{})
			if img, _ := coverOf(t, target); img != nil || len(made.Notes) != 1 || made.Notes[0].Code != conversion.NoteNoCover {
				t.Errorf("picture %v, notes %v", img != nil, made.Notes)
			}
		})
	}
}

// hugePNG has a header that promises a square of white pixels, and no more data
// than a small one.
func hugePNG(t *testing.T, side uint32) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 100, 100))); err != nil {
		t.Fatal(err)
	}
	out := b.Bytes()
	head := out[12:29] // "IHDR" and its 13 bytes
	binary.BigEndian.PutUint32(head[4:], side)
	binary.BigEndian.PutUint32(head[8:], side)
	binary.BigEndian.PutUint32(out[29:], crc32.ChecksumIEEE(head))
	return out
}

// TestTransparent: transparent parts become white, as on a page.
func TestTransparent(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 50, 50))); err != nil {
		t.Fatal(err)
	}
	_, target := tagOf(t, attach(t, b.Bytes()), conversion.Options{})
	if img, _ := coverOf(t, target); colour(img) != "redgreenblue" {
		t.Errorf("got %s", colour(img))
	}
}

func TestSameBytesTwice(t *testing.T) {
	source := filepath.Join(t.TempDir(), "in.mp4")
	installed(t, filepath.Dir(source), append(append([]string{}, threeColours...), "-metadata", "artist=A", "-vf", "noise=alls=60:allf=t,scale=1600:900", source)...)
	for _, cover := range []conversion.Cover{conversion.CoverPoster, "1.3"} {
		one, _ := tagOf(t, source, conversion.Options{Cover: cover})
		two, _ := tagOf(t, source, conversion.Options{Cover: cover})
		if len(one.Notes) != 0 || !bytes.Equal(one.tag, two.tag) {
			t.Errorf("cover %s: notes %v, %d and %d bytes", cover, one.Notes, len(one.tag), len(two.tag))
		}
	}
}
