package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tonearm/bench/link"
)

const bucket = "bench"

// store is a MinIO, as the tests start it.
type store struct {
	cmd     *exec.Cmd
	network *link.Namespace
	port    string
	objects map[string]object // by path of the file
}

// object is a file in the store.
type object struct {
	key, etag string
	size      int64
}

// startStore starts MinIO in a network. It is built where there is a network,
// if it has to be.
func startStore(ctx context.Context, network *link.Namespace, scratch string) (*store, error) {
	servers := filepath.Join(scratch, "servers")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", servers, "./test/servers").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the servers (run this in the repository's root): %w: %s", err, out)
	}
	args := []string{"-only", "minio"}
	if network != nil {
		if out, err := exec.CommandContext(ctx, servers, "-only", "minio", "--", "true").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build MinIO: %w: %s", err, out)
		}
		args = append(args, "-addr", "0.0.0.0")
	}
	s := &store{cmd: exec.CommandContext(context.WithoutCancel(ctx), servers, args...), network: network, objects: map[string]object{}}
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for this process
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := network.Do(s.cmd.Start); err != nil { // it ends with the thread that starts it by its own doing
		return nil, fmt.Errorf("start the servers: %w", err)
	}
	if s.port, err = portOf(out); err == nil {
		err = s.makeBucket(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// portOf reads where the servers say that MinIO is.
func portOf(out io.Reader) (string, error) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "export TONEARM_TEST_S3='"); ok {
			u, err := url.Parse(strings.TrimSuffix(address, "'"))
			if err != nil {
				return "", err
			}
			return u.Port(), nil
		}
	}
	return "", errors.New("MinIO did not start")
}

func (s *store) close() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	return nil
}

// client returns a client that takes the store to be at host, and reaches it
// from its own network.
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

// url presigns a GET for somebody who knows the store as host.
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
