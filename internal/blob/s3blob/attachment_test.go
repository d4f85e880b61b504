package s3blob

import (
	"mime"
	"testing"
)

func TestAttachment(t *testing.T) {
	tests := []struct{ name, want, plain string }{
		{"song.mp3", "song.mp3", `attachment; filename="song.mp3"; filename*=UTF-8''song.mp3`},
		{`a "b".mp3`, `a "b".mp3`, `attachment; filename="a _b_.mp3"; filename*=UTF-8''a%20%22b%22.mp3`},
		{`..\..\x/y.mp3`, `.._.._x_y.mp3`, ``},
		{"a\r\nSet-Cookie: x=1\x00\x7f.mp3", "aSet-Cookie: x=1.mp3", ``},
		{"ビデオ 🎬👩‍👩‍👧.mp3", "ビデオ 🎬👩‍👩‍👧.mp3", `attachment; filename="___ ______.mp3"; filename*=UTF-8''%E3%83%93%E3%83%87%E3%82%AA%20%F0%9F%8E%AC%F0%9F%91%A9%E2%80%8D%F0%9F%91%A9%E2%80%8D%F0%9F%91%A7.mp3`},
		{"a\u202e3pm.exe", "a3pm.exe", ``},
		{"100%+'*;.mp3", "100%+'*;.mp3", ``},
		{"bad\xff.mp3", "bad_.mp3", ``},
	}
	for _, tt := range tests {
		got := attachment(tt.name)
		if tt.plain != "" && got != tt.plain {
			t.Errorf("%q: got %s, want %s", tt.name, got, tt.plain)
		}
		kind, params, err := mime.ParseMediaType(got)
		if err != nil || kind != "attachment" || params["filename"] != tt.want {
			t.Errorf("%q: %s is read as %q, %q, %v; want %q", tt.name, got, kind, params["filename"], err, tt.want)
		}
	}
}
