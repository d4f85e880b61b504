package s3blob_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tonearm/internal/blob/blobtest"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/embedded"
)

func TestMain(m *testing.M) {
	embedded.Main()
	os.Exit(m.Run())
}

func TestEmbedded(t *testing.T) { testEmbedded(t, t.TempDir()) }

// TestEmbeddedSidecar keeps metadata in files, as on a file system without
// extended attributes.
func TestEmbeddedSidecar(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "meta"), 0o700); err != nil {
		t.Fatal(err)
	}
	testEmbedded(t, dir)
}

func testEmbedded(t *testing.T, dir string) {
	receivers := blobtest.NewReceivers(t)
	server, err := embedded.StartS3(t.Context(), embedded.S3Options{
		Dir: dir, WebhookURL: receivers.URL, WebhookToken: receivers.Token, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	blobtest.Run(t, func(t *testing.T) blobtest.Harness {
		h := open(t, receivers, s3blob.Options{
			Endpoint: server.Endpoint(), AccessKey: server.AccessKey(), SecretKey: server.SecretKey(),
		})
		h.Origin = origin
		return h
	})
}

func TestMinIO(t *testing.T) {
	address, relay, arn := os.Getenv("TONEARM_TEST_S3"), os.Getenv("TONEARM_TEST_S3_RELAY"), os.Getenv("TONEARM_TEST_S3_ARN")
	if address == "" || relay == "" || arn == "" {
		if os.Getenv("TONEARM_TEST_REQUIRE") != "" {
			t.Fatal("TONEARM_TEST_S3, TONEARM_TEST_S3_RELAY and TONEARM_TEST_S3_ARN must be set")
		}
		t.Skip("TONEARM_TEST_S3, TONEARM_TEST_S3_RELAY and TONEARM_TEST_S3_ARN are not all set")
	}
	receivers := blobtest.NewReceivers(t)
	blobtest.Run(t, func(t *testing.T) blobtest.Harness {
		o := s3blob.Options{Endpoint: address, AccessKey: "tonearm", SecretKey: "tonearm-secret", NotifyARN: arn, Bucket: bucketName()}
		receivers.Relay(t, relay, o.Bucket)
		return open(t, receivers, o)
	})
}

// origin is that of the pages that may use the buckets of the tests.
const origin = "https://tonearm.example.org"

func bucketName() string { return "test-" + strings.ToLower(rand.Text()) }

// open makes a store. Its public address is another name of the same server.
func open(t *testing.T, receivers *blobtest.Receivers, o s3blob.Options) blobtest.Harness {
	t.Helper()
	if o.Bucket == "" {
		o.Bucket = bucketName()
	}
	u, err := url.Parse(o.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	public := "localhost:" + u.Port()
	o.PublicEndpoint = "http://" + public
	o.CORSOrigins = []string{origin}
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	events := receivers.Bucket(o.Bucket)
	store, err := s3blob.New(o)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s3blob.New(o)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup // they start at the same time, with no bucket yet
	for _, s := range []*s3blob.Store{store, again} {
		group.Go(func() {
			if err := s.Prepare(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	client, err := minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4(o.AccessKey, o.SecretKey, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	return blobtest.Harness{
		Store: store, Again: again, PublicHost: public, InternalHost: u.Host, Events: events,
		Form: func(ctx context.Context, key string) (string, map[string]string, error) {
			policy := minio.NewPostPolicy()
			policy.SetBucket(o.Bucket)
			policy.SetKey(key)
			policy.SetExpires(time.Now().Add(time.Minute))
			u, fields, err := client.PresignedPostPolicy(ctx, policy)
			if err != nil {
				return "", nil, err
			}
			return u.String(), fields, nil
		},
	}
}

func TestNewRefuses(t *testing.T) {
	good := s3blob.Options{Endpoint: "http://127.0.0.1:9000", Bucket: "b", AccessKey: "a", SecretKey: "s"}
	for name, change := range map[string]func(*s3blob.Options){
		"no bucket":        func(o *s3blob.Options) { o.Bucket = "" },
		"no keys":          func(o *s3blob.Options) { o.AccessKey = "" },
		"no endpoint":      func(o *s3blob.Options) { o.Endpoint = "" },
		"no scheme":        func(o *s3blob.Options) { o.Endpoint = "127.0.0.1:9000" },
		"a path":           func(o *s3blob.Options) { o.PublicEndpoint = "https://example.org/s3" },
		"not an ARN":       func(o *s3blob.Options) { o.NotifyARN = "TONEARM" },
		"a strange scheme": func(o *s3blob.Options) { o.PublicEndpoint = "ftp://example.org" },
	} {
		o := good
		change(&o)
		if _, err := s3blob.New(o); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
	if _, err := s3blob.New(good); err != nil {
		t.Error(err)
	}
}
