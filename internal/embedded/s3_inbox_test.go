package embedded_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tonearm/internal/blob"
	"tonearm/internal/blob/s3blob"
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

// inboxWorld is a store with objects, and a client with the inbox keys.
func inboxWorld(t *testing.T) (root *minio.Client, c *minio.Core, store *s3blob.Store) {
	t.Helper()
	server, _ := start(t, embedded.S3Options{Dir: t.TempDir()})
	root, store = client(t, server), open(t, server)
	put(t, store, "uploads/secret")
	put(t, store, own)
	return root, inboxClient(t, server), store
}

// own is an object of the inbox.
const own = "inbox/a@example.org/own"

func upload(ctx context.Context, c *minio.Core, key string, content []byte) error {
	_, err := c.Client.PutObject(ctx, "test", key, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{PartSize: 5 << 20})
	return err
}

var small, large = []byte("content"), bytes.Repeat([]byte("x"), 11<<20)

func TestInboxKeysUpload(t *testing.T) {
	_, c, store := inboxWorld(t)
	ctx := t.Context()
	for key, content := range map[string][]byte{"inbox/a@example.org/small": small, "inbox/a@example.org/large": large} {
		if err := upload(ctx, c, key, content); err != nil {
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
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("a presigned upload: %s", resp.Status)
	}
	broken, err := c.NewMultipartUpload(ctx, "test", "inbox/a@example.org/broken", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ListObjectParts(ctx, "test", "inbox/a@example.org/broken", broken, 0, 10); err != nil {
		t.Errorf("list the parts of an upload: %v", err)
	}
	if err := c.AbortMultipartUpload(ctx, "test", "inbox/a@example.org/broken", broken); err != nil {
		t.Errorf("abort an upload: %v", err)
	}
}

// The inbox account can do nothing but upload below inbox/.
func TestInboxKeysAreRefused(t *testing.T) {
	root, c, store := inboxWorld(t)
	ctx := t.Context()
	foreign, err := (&minio.Core{Client: root}).NewMultipartUpload(ctx, "test", "uploads/parts", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	attempts := refusedCalls(c, foreign)
	for _, key := range []string{"uploads/x", "mp3s/x", "inbox", "inbox2/x", "inbox/../uploads/x", "inbox/a/../../mp3s/x", "inbox/./../x"} {
		attempts["upload "+key] = func(ctx context.Context) error { return upload(ctx, c, key, small) }
		attempts["upload in parts "+key] = func(ctx context.Context) error { return upload(ctx, c, key, large) }
	}
	for _, key := range []string{"uploads/secret", own} {
		attempts["read "+key] = func(ctx context.Context) error { return read(ctx, c, key) }
		attempts["head of "+key] = func(ctx context.Context) error {
			_, err := c.StatObject(ctx, "test", key, minio.StatObjectOptions{})
			return err
		}
		attempts["remove "+key] = func(ctx context.Context) error { return c.RemoveObject(ctx, "test", key, minio.RemoveObjectOptions{}) }
	}
	for name, try := range attempts {
		if code := minio.ToErrorResponse(try(ctx)).Code; code != "AccessDenied" {
			t.Errorf("%s: got %q, want AccessDenied", name, code)
		}
	}
	if buckets, err := c.ListBuckets(ctx); err != nil || len(buckets) > 0 {
		t.Errorf("list buckets: %v, %v; want none", buckets, err)
	}
	var keys []string
	err = store.List(ctx, "", "", func(o blob.Object) bool { keys = append(keys, o.Key); return true })
	if err != nil || !slices.Equal(keys, []string{own, "uploads/secret"}) {
		t.Errorf("afterwards there are %v, %v", keys, err)
	}
}

// refusedCalls are calls on a whole bucket, on others' objects and uploads.
func refusedCalls(c *minio.Core, foreign string) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"add a part to another upload": func(ctx context.Context) error {
			_, err := c.PutObjectPart(ctx, "test", "uploads/parts", foreign, 1, bytes.NewReader(small), int64(len(small)), minio.PutObjectPartOptions{})
			return err
		},
		"copy into the inbox": func(ctx context.Context) error {
			_, err := c.Client.CopyObject(ctx, minio.CopyDestOptions{Bucket: "test", Object: "inbox/a@example.org/copy"}, minio.CopySrcOptions{Bucket: "test", Object: "uploads/secret"})
			return err
		},
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
	}
}

// A form is refused even below inbox/: the gateway checks it without its key.
func TestInboxKeysForm(t *testing.T) {
	_, c, _ := inboxWorld(t)
	for _, key := range []string{"inbox/a@example.org/form", "uploads/form"} {
		policy := minio.NewPostPolicy()
		if err := errors.Join(policy.SetBucket("test"), policy.SetKey(key), policy.SetExpires(time.Now().Add(time.Minute))); err != nil {
			t.Fatal(err)
		}
		u, fields, err := c.PresignedPostPolicy(t.Context(), policy)
		if err != nil {
			t.Fatal(err)
		}
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		for name, value := range fields {
			w.WriteField(name, value)
		}
		file, err := w.CreateFormFile("file", "film.mp4")
		if err != nil {
			t.Fatal(err)
		}
		file.Write(small)
		w.Close()
		resp, err := http.Post(u.String(), w.FormDataContentType(), &form)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s, want 403", key, resp.Status)
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
