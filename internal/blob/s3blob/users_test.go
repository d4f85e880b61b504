package s3blob_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tonearm/internal/blob"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/embedded"
	"tonearm/internal/retry"
)

// TestServiceUsers runs the script of the component in-cluster-store against a real
// MinIO, twice. Each service can then do its work with its own user, and nothing that
// is another's.
func TestServiceUsers(t *testing.T) {
	endpoint, mc := os.Getenv("TONEARM_TEST_S3"), os.Getenv("TONEARM_TEST_MC")
	if endpoint == "" || mc == "" {
		if os.Getenv("TONEARM_TEST_REQUIRE") != "" {
			t.Fatal("TONEARM_TEST_S3 and TONEARM_TEST_MC must be set")
		}
		t.Skip("TONEARM_TEST_S3 or TONEARM_TEST_MC is not set")
	}
	bucket := bucketName()
	makeUsers(t, endpoint, mc, bucket)
	open := func(user, bucket string) *s3blob.Store {
		t.Helper()
		s, err := s3blob.New(s3blob.Options{
			Endpoint: endpoint, Bucket: bucket, AccessKey: user, SecretKey: "secret-of-" + user, NotifyARN: os.Getenv("TONEARM_TEST_S3_ARN"), CORSOrigins: []string{origin},
		})
		must(t, "open", err)
		return s
	}
	gateway, dispatcher := func(bucket string) *s3blob.Store { return open("tonearm-gateway", bucket) }, func(bucket string) *s3blob.Store { return open("tonearm-dispatcher", bucket) }
	must(t, "prepare", dispatcher(bucket).Prepare(t.Context()))
	testServices(t, bucket, gateway, dispatcher)
}

// TestServiceKeys is the same with the accounts of the embedded store. Its bucket is
// made by its root account, and the services' keys are those of every start, also in a
// directory of an earlier version.
func TestServiceKeys(t *testing.T) {
	dir := t.TempDir()
	start := func() *embedded.S3 {
		t.Helper()
		server, err := embedded.StartS3(t.Context(), embedded.S3Options{Dir: dir, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		must(t, "start", err)
		t.Cleanup(server.Close)
		return server
	}
	first := start()
	first.Close()
	earlier := fmt.Sprintf(`{"port":%d,"access_key":%q,"secret_key":%q}`, 0, first.AccessKey(), first.SecretKey())
	must(t, "go back to an earlier version", os.WriteFile(filepath.Join(dir, "s3.json"), []byte(earlier), 0o600))
	second := start()
	second.Close()
	server := start()
	if first.GatewayKeys() == second.GatewayKeys() || second.GatewayKeys() != server.GatewayKeys() || second.DispatcherKeys() != server.DispatcherKeys() || server.GatewayKeys() == server.DispatcherKeys() {
		t.Error("keys are not drawn once and kept")
	}
	open := func(k embedded.Keys, bucket string) *s3blob.Store {
		t.Helper()
		s, err := s3blob.New(s3blob.Options{Endpoint: server.Endpoint(), Bucket: bucket, AccessKey: k.AccessKey, SecretKey: k.SecretKey, CORSOrigins: []string{origin}})
		must(t, "open", err)
		return s
	}
	bucket := bucketName()
	root := open(embedded.Keys{AccessKey: server.AccessKey(), SecretKey: server.SecretKey()}, bucket)
	must(t, "prepare", root.Prepare(t.Context()))
	const begun = "uploads/u/z/source" // by an earlier version, as root
	id, err := root.CreateUpload(t.Context(), begun)
	must(t, "begin an upload as root", err)
	part, err := root.PresignPart(t.Context(), begun, id, 1, 4, time.Minute, blob.Public)
	must(t, "sign a part as root", err)
	must(t, "send it", follow(t.Context(), part))
	gateway := open(server.GatewayKeys(), bucket)
	parts, err := gateway.Parts(t.Context(), begun, id)
	must(t, "list its parts", err)
	_, err = gateway.CompleteUpload(t.Context(), begun, id, parts)
	must(t, "complete it", err)
	testServices(t, bucket, func(bucket string) *s3blob.Store { return open(server.GatewayKeys(), bucket) }, func(bucket string) *s3blob.Store { return open(server.DispatcherKeys(), bucket) })
}

// testServices does with a prepared bucket what the services do, and tries what is not
// theirs.
func testServices(t *testing.T, bucket string, ofGateway, ofDispatcher func(bucket string) *s3blob.Store) {
	t.Helper()
	dispatcher, gateway := ofDispatcher(bucket), ofGateway(bucket)
	ctx := t.Context()
	must(t, "ping", gateway.Ping(ctx))

	const upload, mp3, drop = "uploads/u/c/source", "mp3s/u/c/1.mp3", "inbox/a@example.org/x.mp4"
	whole, err := gateway.PresignPut(ctx, upload, 4, time.Minute, blob.Public)
	must(t, "sign an upload", err)
	must(t, "upload", follow(ctx, whole))
	_, err = gateway.Head(ctx, upload)
	must(t, "head an upload", err)
	id, err := gateway.CreateUpload(ctx, "uploads/u/d/source")
	must(t, "begin an upload in parts", err)
	part, err := gateway.PresignPart(ctx, "uploads/u/d/source", id, 1, 4, time.Minute, blob.Public)
	must(t, "sign a part", err)
	must(t, "send a part", follow(ctx, part))
	parts, err := gateway.Parts(ctx, "uploads/u/d/source", id)
	must(t, "list parts", err)
	_, err = gateway.CompleteUpload(ctx, "uploads/u/d/source", id, parts)
	must(t, "complete", err)
	id, err = gateway.CreateUpload(ctx, "uploads/u/e/source")
	must(t, "begin another", err)
	must(t, "abort", gateway.AbortUpload(ctx, "uploads/u/e/source", id))
	_, err = gateway.Put(ctx, "uploads/u/f/source", strings.NewReader("form"))
	must(t, "plain form", err)
	must(t, "delete what a form left", gateway.Delete(ctx, "uploads/u/f/source"))

	read, err := dispatcher.PresignGet(ctx, upload, "", "", time.Minute, blob.Internal)
	must(t, "sign what a transcoder reads", err)
	must(t, "read", follow(ctx, read))
	write, err := dispatcher.PresignOverwrite(ctx, mp3, time.Minute, blob.Internal)
	must(t, "sign what a transcoder writes", err)
	must(t, "write", follow(ctx, write))
	must(t, "list", dispatcher.List(ctx, "inbox/", "", func(blob.Object) bool { return true }))
	download, err := gateway.PresignGet(ctx, mp3, "a.mp3", "audio/mpeg", time.Minute, blob.Public)
	must(t, "sign a download", err)
	must(t, "download", follow(ctx, download))

	for what, try := range map[string]func() error{
		"gateway writes an MP3":         func() error { _, err := gateway.Put(ctx, mp3, strings.NewReader("x")); return err },
		"gateway drops into an inbox":   func() error { _, err := gateway.Put(ctx, drop, strings.NewReader("x")); return err },
		"gateway deletes an MP3":        func() error { return gateway.Delete(ctx, mp3) },
		"gateway writes elsewhere":      func() error { _, err := gateway.Put(ctx, "else", strings.NewReader("x")); return err },
		"gateway changes notifications": func() error { return ofGateway(bucketName()).Prepare(ctx) },
		"gateway signs for the inbox": func() error {
			r, err := gateway.PresignPut(ctx, drop, 4, time.Minute, blob.Public)
			return or(err, follow(ctx, r))
		},
		"dispatcher uploads":              func() error { _, err := dispatcher.Put(ctx, upload, strings.NewReader("x")); return err },
		"dispatcher makes another bucket": func() error { return ofDispatcher(bucketName()).Prepare(ctx) },
		"dispatcher writes elsewhere":     func() error { _, err := dispatcher.Put(ctx, "else", strings.NewReader("x")); return err },
	} {
		if err := try(); err == nil {
			t.Errorf("%s", what)
		}
	}
	must(t, "delete an MP3", dispatcher.Delete(ctx, mp3))
	must(t, "delete a video", dispatcher.Delete(ctx, upload))
}

// makeUsers runs the script of the component, for another bucket.
func makeUsers(t *testing.T, endpoint, mc, bucket string) {
	t.Helper()
	dir, source := t.TempDir(), filepath.Join("..", "..", "..", "kustomize", "components", "in-cluster-store", "users")
	for _, user := range []string{"tonearm-gateway", "tonearm-dispatcher"} {
		policy, err := os.ReadFile(filepath.Join(source, user+".json"))
		must(t, "read a policy", err)
		policy = []byte(strings.ReplaceAll(string(policy), ":::tonearm", ":::"+bucket))
		must(t, "write a policy", os.WriteFile(filepath.Join(dir, user+".json"), policy, 0o600))
	}
	must(t, "link mc", os.Symlink(mc, filepath.Join(dir, "mc")))
	for range 2 {
		script := exec.CommandContext(t.Context(), "/bin/sh", filepath.Join(source, "users.sh"))
		script.Env = []string{
			"PATH=" + dir + ":" + os.Getenv("PATH"), "STORE=" + strings.TrimPrefix(endpoint, "http://"), "POLICIES=" + dir, "MC_CONFIG_DIR=" + filepath.Join(dir, "config"),
			"ROOT_USER=tonearm", "ROOT_PASSWORD=tonearm-secret", "GATEWAY_SECRET=secret-of-tonearm-gateway", "DISPATCHER_SECRET=secret-of-tonearm-dispatcher",
		}
		out, err := script.CombinedOutput()
		if err != nil || strings.Contains(string(out), "secret") || strings.Count(string(out), "is there") != 2 {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func or(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// follow sends a presigned request, with four bytes where it is an upload.
func follow(ctx context.Context, r blob.Request) error {
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, nil)
	if err != nil {
		return retry.WithoutURL(err)
	}
	if r.Method == http.MethodPut {
		req, err = http.NewRequestWithContext(ctx, r.Method, r.URL, strings.NewReader("four"))
		if err != nil {
			return retry.WithoutURL(err)
		}
	}
	req.Header = r.Header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return retry.WithoutURL(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return &refusal{resp.Status}
	}
	return nil
}

type refusal struct{ status string }

func (r *refusal) Error() string { return r.status }
