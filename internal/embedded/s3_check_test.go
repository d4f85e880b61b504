package embedded_test

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"tonearm/internal/embedded"
)

// TestDestroyed: after the machine has gone down, the store tells of the objects
// whose data is not there, and of no other.
func TestDestroyed(t *testing.T) {
	for _, sidecar := range []bool{false, true} {
		t.Run(fmt.Sprint("sidecar ", sidecar), func(t *testing.T) {
			dir := t.TempDir()
			if sidecar {
				if err := os.Mkdir(filepath.Join(dir, "meta"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			server, _ := start(t, embedded.S3Options{Dir: dir})
			store := open(t, server)
			for _, key := range []string{"uploads/whole", "uploads/zeros", "mp3s/empty", "inbox/who@example.org/other bytes"} {
				put(t, store, key)
			}
			parts := bytes.Repeat([]byte("0123456789abcdef"), 6<<16) // 6 MiB, in parts of 5
			for _, key := range []string{"uploads/parts", "uploads/parts lost"} {
				_, err := client(t, server).PutObject(t.Context(), "test", key, bytes.NewReader(parts), int64(len(parts)), minio.PutObjectOptions{PartSize: 5 << 20})
				if err != nil {
					t.Fatal(err)
				}
			}
			server.Close()
			if _, err := os.Stat(filepath.Join(dir, "s3.alive")); !os.IsNotExist(err) {
				t.Errorf("a store that has ended as it should looks alive: %v", err)
			}

			file := func(key string) string { return filepath.Join(dir, "data", "test", key) }
			change := func(key string, offset int64, content []byte) {
				f, err := os.OpenFile(file(key), os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if _, err := f.WriteAt(content, offset); err != nil {
					t.Fatal(err)
				}
			}
			change("uploads/zeros", 0, make([]byte, len("content")))
			if err := os.Truncate(file("mp3s/empty"), 0); err != nil {
				t.Fatal(err)
			}
			change("inbox/who@example.org/other bytes", 0, []byte("C"))
			change("uploads/parts lost", 5<<20, make([]byte, 1<<20))
			want := []embedded.StoredObject{
				{Bucket: "test", Key: "inbox/who@example.org/other bytes"}, {Bucket: "test", Key: "mp3s/empty"},
				{Bucket: "test", Key: "uploads/parts lost"}, {Bucket: "test", Key: "uploads/zeros"},
			}

			for _, life := range []string{"another", ""} { // the machine went down, or only the store
				boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
				if err != nil {
					t.Skip("no life of the machine is known here")
				}
				if err := os.WriteFile(filepath.Join(dir, "s3.alive"), []byte(cmp.Or(life, strings.TrimSpace(string(boot)))+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				told := make(chan []embedded.StoredObject, 1)
				server, _ := start(t, embedded.S3Options{Dir: dir, Destroyed: func(o []embedded.StoredObject) { told <- o }})
				if life == "" {
					server.Close() // it has told by then
					if len(told) > 0 {
						t.Errorf("after a crash of the store alone: %v", <-told)
					}
					continue
				}
				got := <-told
				slices.SortFunc(got, func(a, b embedded.StoredObject) int { return strings.Compare(a.Key, b.Key) })
				if !slices.Equal(got, want) {
					t.Errorf("told of %v, want %v", got, want)
				}
				server.Close()
			}
		})
	}
}

// TestLostKeys: keys of which a power cut left nothing are drawn anew.
func TestLostKeys(t *testing.T) {
	dir := t.TempDir()
	for _, left := range []string{"", "\x00\x00\x00"} {
		if err := os.WriteFile(filepath.Join(dir, "s3.json"), []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		server, _ := start(t, embedded.S3Options{Dir: dir})
		put(t, open(t, server), "uploads/a")
		server.Close()
	}
}
