package blobtest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tonearm/internal/blob"
)

func testGet(t *testing.T, h Harness) {
	const key = "uploads/u/c/source"
	store(t, h, key, "0123456789")
	o, err := h.Store.Head(t.Context(), key)
	noErr(t, err)
	for _, tt := range []struct {
		offset, length int64
		want           string
	}{
		{0, -1, "0123456789"}, {0, 10, "0123456789"}, {0, 1, "0"}, {0, 3, "012"}, {3, 4, "3456"},
		{9, 1, "9"}, {9, -1, "9"}, {4, -1, "456789"}, {5, 100, "56789"}, {3, 0, ""},
	} {
		r, err := h.Store.Get(t.Context(), key, o.ETag, tt.offset, tt.length)
		if err != nil {
			t.Errorf("%d+%d: %v", tt.offset, tt.length, err)
			continue
		}
		got, err := io.ReadAll(r)
		noErr(t, err)
		noErr(t, r.Close())
		if string(got) != tt.want {
			t.Errorf("%d+%d: got %q, want %q", tt.offset, tt.length, got, tt.want)
		}
	}
	_, err = h.Store.Get(t.Context(), key, o.ETag, 10, -1)
	wantErr(t, "from the end on", err, blob.ErrInvalid)

	_, err = h.Store.Put(t.Context(), key, io.LimitReader(&pattern{n: 10}, 10))
	noErr(t, err)
	for _, length := range []int64{-1, 4, 0} {
		_, err = h.Store.Get(t.Context(), key, o.ETag, 2, length)
		wantErr(t, fmt.Sprint(length, " bytes of a changed object"), err, blob.ErrChanged)
	}
}

func testNotExist(t *testing.T, h Harness) {
	ctx := t.Context()
	_, err := h.Store.Head(ctx, "uploads/none")
	wantErr(t, "head", err, blob.ErrNotExist)
	for _, length := range []int64{-1, 4, 0} {
		_, err = h.Store.Get(ctx, "uploads/none", "", 0, length)
		wantErr(t, "get", err, blob.ErrNotExist)
	}
	_, err = h.Store.Parts(ctx, "uploads/none", "00000000-0000-0000-0000-000000000000")
	wantErr(t, "parts", err, blob.ErrNotExist)
	_, err = h.Store.CompleteUpload(ctx, "uploads/none", "00000000-0000-0000-0000-000000000000", []blob.Part{{Number: 1, ETag: "0123456789abcdef0123456789abcdef"}})
	wantErr(t, "complete", err, blob.ErrNotExist)
	noErr(t, h.Store.List(ctx, "uploads/none/", "", func(o blob.Object) bool {
		t.Errorf("got %+v", o)
		return true
	}))
	noErr(t, h.Store.Ping(ctx))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	wantErr(t, "ping", h.Store.Ping(ended), context.Canceled)
	wantErr(t, "list", h.Store.List(ended, "", "", func(blob.Object) bool { return true }), context.Canceled)
}

func testList(t *testing.T, h Harness) {
	var want []string
	for i := range 2005 { // more than two pages; without notifications, which take time
		want = append(want, fmt.Sprintf("mp3s/u%d@example.org/%04d.mp4", i%3, i))
	}
	want = append(want, "mp3s/a-b/x", "mp3s/a/b/c", "mp3s/a/x", "mp3s/a+b/x y #%", "mp3s/a.b/x", "mp3s/ü/ビデオ")
	keys := make(chan string)
	var putters sync.WaitGroup
	for range 16 {
		putters.Go(func() {
			for key := range keys {
				store(t, h, key, "v")
			}
		})
	}
	for _, key := range want {
		keys <- key
	}
	close(keys)
	putters.Wait()
	store(t, h, "uploads/u/c/source", "another prefix")
	slices.Sort(want)

	list := func(prefix, after string, limit int) []string {
		t.Helper()
		var got []string
		noErr(t, h.Store.List(t.Context(), prefix, after, func(o blob.Object) bool {
			if o.Size != 1 || o.ETag == "" || time.Since(o.Modified).Abs() > 10*time.Minute {
				t.Errorf("got %+v", o)
			}
			got = append(got, o.Key)
			return len(got) != limit
		}))
		return got
	}
	for _, tt := range []struct {
		after string
		limit int
		want  []string
	}{
		{"", 0, want},
		{"", 3, want[:3]},
		{want[1200], 0, want[1201:]},
		{want[1200] + "!", 1500, want[1201:][:min(1500, len(want)-1201)]},
		{"mp3s/a+b/x y #%", 0, want[slices.Index(want, "mp3s/a+b/x y #%")+1:]},
		{"mp3s/zz", 0, want[len(want)-1:]},
		{want[len(want)-1], 0, nil},
	} {
		if got := list("mp3s/", tt.after, tt.limit); !slices.Equal(got, tt.want) {
			t.Errorf("after %q: got %d keys, want %d; %s", tt.after, len(got), len(tt.want), difference(got, tt.want))
		}
	}
	if got := list("mp3s/a", "", 0); len(got) != 5 {
		t.Errorf("got %q under a prefix that ends within a name", got)
	}
}

func difference(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("first difference at %d: %q, want %q", i, got[i], want[i])
		}
	}
	return ""
}

func testDelete(t *testing.T, h Harness) {
	const key = "uploads/u/c/source"
	store(t, h, key, "a video")
	noErr(t, h.Store.Delete(t.Context(), key))
	noErr(t, h.Store.Delete(t.Context(), key))
	noErr(t, h.Store.Delete(t.Context(), "uploads/never/was/here"))
	_, err := h.Store.Head(t.Context(), key)
	wantErr(t, "after delete", err, blob.ErrNotExist)
	noErr(t, h.Store.List(t.Context(), "", "", func(o blob.Object) bool {
		t.Errorf("%s is left", o.Key)
		return true
	}))
	store(t, h, key, "again")
}

func testKeys(t *testing.T, h Harness) {
	for _, key := range []string{
		"inbox/a+b@example.org/x.mp4", "inbox/a@b/two  spaces .mp4", "inbox/a@b/#1.mp4", "inbox/a@b/100%.mp4", "inbox/a@b/%2B%20.mp4",
		"inbox/a@b/?x=y&z;.mp4", "inbox/a@b/it's \"so\".mp4", "inbox/a@b/ビデオ 🎬.mp4", "inbox/a@b/e\u0301.mp4", "inbox/a@b/(1)[2]{3}*!~.mp4",
	} {
		store(t, h, key, key)
		if got := content(t, h, key); got != key {
			t.Errorf("%q: got %q", key, got)
		}
		o, err := h.Store.Head(t.Context(), key)
		noErr(t, err)
		if o.Key != key {
			t.Errorf("%q: got %q", key, o.Key)
		}
		r, err := h.Store.PresignGet(t.Context(), key, "x.mp4", "video/mp4", time.Minute, blob.Internal)
		noErr(t, err)
		if _, got := do(t, request(t, r, "")); got != key {
			t.Errorf("%q by its URL: got %q", key, got)
		}
		var listed []string
		noErr(t, h.Store.List(t.Context(), key, "", func(o blob.Object) bool {
			listed = append(listed, o.Key)
			return true
		}))
		if !slices.Equal(listed, []string{key}) {
			t.Errorf("%q is listed as %q", key, listed)
		}
		noErr(t, h.Store.Delete(t.Context(), key))
		_, err = h.Store.Head(t.Context(), key)
		wantErr(t, key, err, blob.ErrNotExist)
	}
	_, err := h.Store.Put(t.Context(), "inbox/a@b/"+strings.Repeat("x", 300), io.LimitReader(&pattern{n: 1}, 1))
	wantErr(t, "a key too long", err, blob.ErrInvalid)
}

// Processes that start together prepare the bucket together, and do not change
// what is there.
func testPrepare(t *testing.T, h Harness) {
	store(t, h, "uploads/u/1", "kept")
	var group sync.WaitGroup
	for range 4 {
		for _, s := range []blob.Store{h.Store, h.Again} {
			group.Go(func() {
				if err := s.Prepare(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
	if got := content(t, h, "uploads/u/1"); got != "kept" {
		t.Errorf("got %q", got)
	}
	store(t, h, "uploads/u/2", "notified once")
	store(t, h, "inbox/a@b/3", "notified")
	_, before := wait(t, h, "inbox/a@b/3")
	if n := len(slices.DeleteFunc(before, func(e blob.Event) bool { return e.Key != "uploads/u/2" })); n > 1 {
		t.Errorf("%d events of one upload", n)
	}
}
