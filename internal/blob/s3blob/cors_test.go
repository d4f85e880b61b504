package s3blob_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/cors"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tonearm/internal/blob"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/embedded"
)

// TestOrigins: a bucket gets its own rule, also where an earlier version has let
// everybody in, keeps those of others, and loses it again.
func TestOrigins(t *testing.T) {
	server, err := embedded.StartS3(t.Context(), embedded.S3Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	client, err := minio.New(server.Endpoint()[len("http://"):], &minio.Options{Creds: credentials.NewStaticV4(server.AccessKey(), server.SecretKey(), ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	prepare := func(bucket string, origins ...string) *s3blob.Store {
		t.Helper()
		s, err := s3blob.New(s3blob.Options{Endpoint: server.Endpoint(), Bucket: bucket, AccessKey: server.AccessKey(), SecretKey: server.SecretKey(), CORSOrigins: origins})
		if err == nil {
			err = s.Prepare(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	allowed := func(s *s3blob.Store, origin string) string {
		t.Helper()
		r, err := s.PresignPut(t.Context(), "uploads/x", 1, time.Minute, blob.Public)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, r.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", http.MethodPut)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal("no answer")
		}
		resp.Body.Close()
		return resp.Header.Get("Access-Control-Allow-Origin")
	}
	expect := func(s *s3blob.Store, origin, want string) {
		t.Helper()
		if got := allowed(s, origin); got != want {
			t.Errorf("%s: got %q, want %q", origin, got, want)
		}
	}
	const page, other = "https://app.example.org", "https://elsewhere.example.org"
	expect(prepare("none"), page, "")
	prepare("before", "*")
	s := prepare("before", page, "https://two.example.org")
	expect(s, page, page)
	expect(s, "https://two.example.org", "https://two.example.org")
	expect(s, other, "")
	foreign := cors.NewConfig([]cors.Rule{{ID: "somebody", AllowedOrigin: []string{other}, AllowedMethod: []string{"PUT"}}})
	if err := client.MakeBucket(t.Context(), "shared", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.SetBucketCors(t.Context(), "shared", foreign); err != nil {
		t.Fatal(err)
	}
	s = prepare("shared", page)
	expect(s, page, page)
	expect(s, other, other)
	s = prepare("shared")
	expect(s, page, "")
	expect(s, other, other)
	expect(prepare("before"), page, "")
}
