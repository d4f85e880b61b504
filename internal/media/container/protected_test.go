package container

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
)

func TestProtected(t *testing.T) {
	const track = "\xae\x83\x83\x81\x02" // an entry of three bytes: audio
	const encrypted = "\xae\x90\x83\x81\x02\x6d\x80\x8a\x62\x40\x87\x50\x33\x81\x01\x50\x35\x80"
	const picture = "\xae\x90\x83\x81\x01\x6d\x80\x8a\x62\x40\x87\x50\x33\x81\x01\x50\x35\x80"
	matroska := func(entries string) string {
		tracks := "\x16\x54\xae\x6b" + string(rune(0x40|len(entries)>>8)) + string([]byte{byte(len(entries))}) + entries
		return "\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" + tracks + "\x1f\x43\xb6\x75\x80"
	}
	asf := func(objects ...string) string {
		head := asfHeader + string(make([]byte, 14))
		for _, id := range objects {
			head += id + string(binary.LittleEndian.AppendUint64(nil, 30)) + "abcdef"
		}
		return head
	}
	for name, tt := range map[string]struct{ content, want string }{
		"clear":           {matroska(track), "{false [false]}"},
		"sound encrypted": {matroska(track + encrypted), "{false [false true]}"},
		"pictures":        {matroska(picture + track), "{false [false]}"},
		"cut":             {matroska(encrypted)[:20], "{false []}"},
		"asf":             {asf(asfProperties), "{false []}"},
		"asf drm":         {asf(asfProperties, asfProtection[1]), "{true []}"},
		"audible":         {"\x00\x01\x02\x03\x57\x90\x75\x36 and more", "{true []}"},
		"other":           {"RIFF....WAVE", "{false []}"},
		"empty":           {"", "{false []}"},
	} {
		if got := fmt.Sprint(Protected(bytes.NewReader([]byte(tt.content)))); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

func FuzzProtected(f *testing.F) {
	f.Add([]byte(asfHeader + string(make([]byte, 40))))
	f.Add([]byte("\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff\x16\x54\xae\x6b\x85\xae\x83\x83\x81\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(Protected(bytes.NewReader(b)).Tracks); n > len(b) {
			t.Errorf("%d tracks", n)
		}
	})
}
