package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tonearm/bench/link"
)

const bucket = "bench"

// store is a MinIO, started in the same way as for tests.
type store struct {
	*servers
	network *link.Namespace
	port    string
	objects map[string]object // by path of the file
}

// object is a file in the store.
type object struct {
	key, etag string
	size      int64
}

// startStore starts MinIO in a network.
func startStore(ctx context.Context, network *link.Namespace, scratch string) (*store, error) {
	var args []string
	if network != nil {
		args = []string{"-addr", "0.0.0.0"}
	}
	started, err := startServers(ctx, network, scratch, "minio", args...)
	if err != nil {
		return nil, err
	}
	s := &store{servers: started, network: network, objects: map[string]object{}}
	address, err := url.Parse(s.env["S3"])
	if err == nil {
		s.port = address.Port()
		err = s.makeBucket(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// client returns a client that reaches the store at host, from the client's own
// network.
func (s *store) client(host string) (*minio.Client, error) {
	return minio.New(net.JoinHostPort(host, s.port), &minio.Options{
		Creds: credentials.NewStaticV4("tonearm", "tonearm-secret", ""), Region: "us-east-1",
		BucketLookup: minio.BucketLookupPath,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return s.network.Dial(ctx, address)
		}},
	})
}

func (s *store) makeBucket(ctx context.Context) error {
	c, err := s.client("127.0.0.1")
	if err != nil {
		return err
	}
	return c.MakeBucket(ctx, bucket, minio.MakeBucketOptions{})
}

// put stores a file, once.
func (s *store) put(ctx context.Context, path string) (object, error) {
	if o, ok := s.objects[path]; ok {
		return o, nil
	}
	c, err := s.client("127.0.0.1")
	if err != nil {
		return object{}, err
	}
	info, err := c.FPutObject(ctx, bucket, filepath.Base(path), path, minio.PutObjectOptions{PartSize: 64 << 20})
	if err != nil {
		return object{}, fmt.Errorf("store %s: %w", filepath.Base(path), err)
	}
	o := object{info.Key, strings.Trim(info.ETag, `"`), info.Size}
	s.objects[path] = o
	return o, nil
}

// url presigns a GET for a client that reaches the store at host.
func (s *store) url(ctx context.Context, host string, o object) (string, error) {
	c, err := s.client(host)
	if err != nil {
		return "", err
	}
	u, err := c.PresignedGetObject(ctx, bucket, o.key, 6*time.Hour, nil)
	if err != nil {
		return "", fmt.Errorf("presign: %w", err)
	}
	return u.String(), nil
}
