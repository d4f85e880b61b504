package embedded

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"

	"tonearm/internal/durable"
)

const (
	aliveName  = "s3.alive"
	aliveEvery = 10 * time.Second
	aliveSlack = time.Minute // the kernel writes data to the disk within half a minute

	destroyedPrefix = "destroyed " // before objects in JSON, in a line of the standard output
)

// StoredObject names an object of the store.
type StoredObject struct {
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
}

// heartbeat is a file that says when the store was last seen alive, by its time,
// and in which life of the machine, by its content. A store that ends as it should
// removes it.
type heartbeat struct{ path, boot string }

func newHeartbeat(dir string) heartbeat {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // elsewhere no life is known: every crash may have been one of the machine
	return heartbeat{filepath.Join(dir, aliveName), strings.TrimSpace(string(boot))}
}

// crashed returns when the store was last seen alive, if the machine has gone down
// since, the store with it.
func (h heartbeat) crashed() (last time.Time, crashed bool) {
	b, err := os.ReadFile(h.path)
	if err != nil || h.boot != "" && strings.TrimSpace(string(b)) == h.boot {
		return time.Time{}, false
	}
	stat, err := os.Stat(h.path)
	return stat.ModTime(), err == nil
}

// run writes the file until ctx ends.
func (h heartbeat) run(ctx context.Context, log *slog.Logger) {
	ticker := time.NewTicker(aliveEvery)
	defer ticker.Stop()
	for {
		if err := durable.WriteFile(h.path, []byte(h.boot+"\n")); err != nil {
			log.Warn("could not write the heartbeat", "err", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// end removes the file.
func (h heartbeat) end() error {
	if err := os.Remove(h.path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// tellDestroyed prints what check finds for the parent.
func tellDestroyed(ctx context.Context, storer meta.MetadataStorer, since time.Time) error {
	destroyed, err := check(ctx, storer, since)
	if len(destroyed) > 0 {
		line, bad := json.Marshal(destroyed)
		fmt.Println(destroyedPrefix + string(line))
		err = errors.Join(err, bad)
	}
	return err
}

// check returns the objects changed since a time that are not what their ETags say,
// as one may be whose data never reached the disk. The working directory is the one
// with the buckets. It changes nothing.
func check(ctx context.Context, storer meta.MetadataStorer, since time.Time) (destroyed []StoredObject, err error) {
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed meanwhile
		case err != nil:
			return err
		case d.IsDir() && ofGateway(path):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		stat, err := d.Info()
		if err != nil || stat.ModTime().Before(since) {
			return nil //nolint:nilerr // removed meanwhile
		}
		bucket, key, _ := strings.Cut(filepath.ToSlash(path), "/")
		whole, err := intact(storer, bucket, key)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("check an object: %w", err)
		}
		if err == nil && !whole {
			destroyed = append(destroyed, StoredObject{bucket, key})
		}
		return nil
	})
	return destroyed, err
}

// ofGateway reports whether a directory is the gateway's own, beside the buckets
// or in one.
func ofGateway(dir string) bool {
	bucket, key, _ := strings.Cut(filepath.ToSlash(dir), "/")
	return bucket != "." && strings.HasPrefix(bucket, ".") || key == posix.MetaTmpDir
}

// intact compares an object with its ETag: the MD5 of its bytes, or of the MD5s of
// its parts. An object whose parts are unknown is only compared with zeros.
func intact(storer meta.MetadataStorer, bucket, key string) (bool, error) {
	stored, err := storer.RetrieveAttribute(nil, bucket, key, etagAttribute)
	if errors.Is(err, meta.ErrNoSuchKey) {
		_, err := os.Stat(filepath.Join(bucket, key))
		return false, err
	}
	if err != nil {
		return false, err
	}
	f, err := os.Open(filepath.Join(bucket, key))
	if err != nil {
		return false, err
	}
	defer f.Close()
	etag := strings.Trim(string(stored), `"`)
	_, count, inParts := strings.Cut(etag, "-")
	if !inParts {
		sum := md5.New()
		_, err := io.Copy(sum, f)
		return hex.EncodeToString(sum.Sum(nil)) == etag, err
	}
	data, err := storer.RetrieveAttribute(nil, bucket, key, partsAttribute)
	if errors.Is(err, meta.ErrNoSuchKey) {
		return anything(f)
	}
	if err != nil {
		return false, err
	}
	upload, err := backend.UnmarshalMpUploadMetadata(data, false)
	if err != nil || strconv.Itoa(len(upload.Parts)) != count {
		return false, nil //nolint:nilerr // the metadata is damaged
	}
	all, begin := md5.New(), int64(0)
	for _, end := range upload.Parts {
		part := md5.New()
		if _, err := io.CopyN(part, f, end-begin); err != nil {
			return false, ignoreEOF(err)
		}
		all.Write(part.Sum(nil))
		begin = end
	}
	more, _ := f.Read(make([]byte, 1))
	return more == 0 && hex.EncodeToString(all.Sum(nil))+"-"+count == etag, nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// anything reports whether a byte of r is not 0.
func anything(r io.Reader) (bool, error) {
	buf, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if !bytes.Equal(buf[:n], zeros[:n]) {
			return true, nil
		}
		if err != nil {
			return false, ignoreEOF(err)
		}
	}
}
