package embedded_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tonearm/internal/embedded"
)

// inboxClient is an S3 client with the inbox keys.
func inboxClient(t *testing.T, server *embedded.S3) *minio.Core {
	t.Helper()
	access, secret := server.InboxKeys()
	c, err := minio.NewCore(strings.TrimPrefix(server.Endpoint(), "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(access, secret, ""), Region: "us-east-1",
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The inbox account uploads below inbox/, and can do nothing else.
func TestInboxKeys(t *testing.T) {
	server, _ := start(t, embedded.S3Options{Dir: t.TempDir()})
	root, store := client(t, server), open(t, server)
	put(t, store, "uploads/secret")
	put(t, store, "inbox/a@example.org/secret")
	c := inboxClient(t, server)
	ctx := t.Context()
	small, large := []byte("content"), bytes.Repeat([]byte("x"), 11<<20)
	upload := func(key string, content []byte) error {
		_, err := c.Client.PutObject(ctx, "test", key, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{PartSize: 5 << 20})
		return err
	}

	for key, content := range map[string][]byte{"inbox/a@example.org/small": small, "inbox/a@example.org/large": large} {
		if err := upload(key, content); err != nil {
			t.Errorf("upload %s: %v", key, err)
			continue
		}
		if o, err := store.Head(ctx, key); err != nil || o.Size != int64(len(content)) {
			t.Errorf("%s: %+v, %v", key, o, err)
		}
	}
	presigned, err := c.PresignedPutObject(ctx, "test", "inbox/a@example.org/presigned", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, presigned.String(), bytes.NewReader(small))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("a presigned upload: %+v, %v", resp, err)
	}
	broken, err := c.NewMultipartUpload(ctx, "test", "inbox/a@example.org/broken", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AbortMultipartUpload(ctx, "test", "inbox/a@example.org/broken", broken); err != nil {
		t.Errorf("abort an upload: %v", err)
	}

	foreign, err := (&minio.Core{Client: root}).NewMultipartUpload(ctx, "test", "uploads/parts", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const own = "inbox/a@example.org/small"
	for name, try := range map[string]func(context.Context) error{
		"upload elsewhere":             func(context.Context) error { return upload("uploads/x", small) },
		"upload in parts elsewhere":    func(context.Context) error { return upload("uploads/x", large) },
		"upload beside the inbox":      func(context.Context) error { return upload("inbox", small) },
		"upload to a like name":        func(context.Context) error { return upload("inbox2/x", small) },
		"upload by a dotted path":      func(context.Context) error { return upload("inbox/../uploads/x", small) },
		"upload by a dotted long path": func(context.Context) error { return upload("inbox/a/../../mp3s/x", small) },
		"add a part to another upload": func(ctx context.Context) error {
			_, err := c.PutObjectPart(ctx, "test", "uploads/parts", foreign, 1, bytes.NewReader(small), int64(len(small)), minio.PutObjectPartOptions{})
			return err
		},
		"read elsewhere": func(ctx context.Context) error { return read(ctx, c, "uploads/secret") },
		"read its own":   func(ctx context.Context) error { return read(ctx, c, own) },
		"read the head of its own": func(ctx context.Context) error {
			_, err := c.StatObject(ctx, "test", own, minio.StatObjectOptions{})
			return err
		},
		"copy into the inbox": func(ctx context.Context) error {
			_, err := c.Client.CopyObject(ctx, minio.CopyDestOptions{Bucket: "test", Object: "inbox/a@example.org/copy"}, minio.CopySrcOptions{Bucket: "test", Object: "uploads/secret"})
			return err
		},
		"remove elsewhere": func(ctx context.Context) error {
			return c.RemoveObject(ctx, "test", "uploads/secret", minio.RemoveObjectOptions{})
		},
		"remove its own": func(ctx context.Context) error { return c.RemoveObject(ctx, "test", own, minio.RemoveObjectOptions{}) },
		"remove several": func(ctx context.Context) error {
			objects := make(chan minio.ObjectInfo, 1)
			objects <- minio.ObjectInfo{Key: "uploads/secret"}
			close(objects)
			return (<-c.RemoveObjects(ctx, "test", objects, minio.RemoveObjectsOptions{})).Err
		},
		"list": func(ctx context.Context) (err error) {
			for o := range c.Client.ListObjects(ctx, "test", minio.ListObjectsOptions{Prefix: "inbox/", Recursive: true}) {
				err = o.Err
			}
			return err
		},
		"list uploads": func(ctx context.Context) error {
			_, err := c.ListMultipartUploads(ctx, "test", "inbox/", "", "", "", 10)
			return err
		},
		"make a bucket":   func(ctx context.Context) error { return c.MakeBucket(ctx, "mine", minio.MakeBucketOptions{}) },
		"remove a bucket": func(ctx context.Context) error { return c.RemoveBucket(ctx, "test") },
		"set the policy": func(ctx context.Context) error {
			return c.SetBucketPolicy(ctx, "test", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::test/*","arn:aws:s3:::test"]}]}`)
		},
	} {
		if code := minio.ToErrorResponse(try(ctx)).Code; code != "AccessDenied" {
			t.Errorf("%s: got %q, want AccessDenied", name, code)
		}
	}
	if buckets, err := c.ListBuckets(ctx); err != nil || len(buckets) > 0 {
		t.Errorf("list buckets: %v, %v; want none", buckets, err)
	}
	for key, want := range map[string]string{"uploads/secret": "content", own: "content"} {
		body, err := root.GetObject(ctx, "test", key, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(body); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v afterwards", key, got, err)
		}
	}
}

func read(ctx context.Context, c *minio.Core, key string) error {
	body, err := c.Client.GetObject(ctx, "test", key, minio.GetObjectOptions{})
	if err != nil {
		return err
	}
	_, err = io.ReadAll(body)
	return err
}

// A policy of the bucket's own counts beside the inbox account's.
func TestInboxKeysBesidePolicy(t *testing.T) {
	server, _ := start(t, embedded.S3Options{Dir: t.TempDir()})
	root, store := client(t, server), open(t, server)
	put(t, store, "public/k")
	put(t, store, "uploads/k")
	err := root.SetBucketPolicy(t.Context(), "test", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::test/public/*"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]int{"public/k": http.StatusOK, "uploads/k": http.StatusForbidden} {
		resp, err := http.Get(server.Endpoint() + "/test/" + key)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s without keys: %s, want %d", key, resp.Status, want)
		}
	}
	c := inboxClient(t, server)
	for key, want := range map[string]string{"inbox/a@example.org/k": "", "public/k": "AccessDenied"} {
		_, err := c.Client.PutObject(t.Context(), "test", key, strings.NewReader("x"), 1, minio.PutObjectOptions{})
		if got := minio.ToErrorResponse(err).Code; got != want {
			t.Errorf("upload %s: got %q, want %q", key, got, want)
		}
	}
}

// A directory of an earlier version has no inbox keys yet. It gets some, and keeps
// the rest.
func TestInboxKeysAreAdded(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "s3.json")
	if err := os.WriteFile(file, []byte(`{"port":0,"access_key":"ROOT","secret_key":"root-secret"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	first, _ := start(t, embedded.S3Options{Dir: dir})
	access, secret := first.InboxKeys()
	if first.AccessKey() != "ROOT" || first.SecretKey() != "root-secret" || len(access) != 20 || len(secret) < 40 || access == "ROOT" {
		t.Errorf("got %s, %s", first.AccessKey(), access)
	}
	first.Close()
	again, _ := start(t, embedded.S3Options{Dir: dir})
	if a, s := again.InboxKeys(); a != access || s != secret {
		t.Error("the next start has other inbox keys")
	}
	var stored map[string]any
	if b, err := os.ReadFile(file); err != nil || json.Unmarshal(b, &stored) != nil || stored["inbox_access_key"] != access {
		t.Errorf("%s holds %v, %v", file, stored, err)
	}
}
