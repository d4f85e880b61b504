package embedded

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"

	"tonearm/internal/durable"
)

// etagAttribute is the gateway's name for the attribute with the ETag.
const etagAttribute = "etag"

// syncing is a storer of metadata that has an object's data on the disk before
// the object gets its name. The gateway stores the attributes of an object, a copy,
// a part or a completed upload between the two. So after a power cut no name stands
// for data that never arrived.
type syncing struct{ meta.MetadataStorer }

func (s syncing) StoreAttribute(f *os.File, bucket, object, attribute string, value []byte) error {
	if f != nil && attribute == etagAttribute {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("sync the data: %w", err)
		}
	}
	return s.MetadataStorer.StoreAttribute(f, bucket, object, attribute, value)
}

// disk is where the gateway keeps objects. The working directory is the one with
// the buckets.
type disk struct {
	storer  meta.MetadataStorer
	sidecar string // directory of the metadata; '' where it is in the files' attributes
}

// settle has a new object on the disk: its data, its metadata, and the directories
// down to it.
func (d disk) settle(bucket, object string) error {
	path := filepath.Join(bucket, object)
	if err := durable.Sync(path); err != nil {
		return fmt.Errorf("sync an object: %w", err)
	}
	if err := durable.SyncDirs(".", path); err != nil {
		return err
	}
	if d.sidecar == "" {
		return nil
	}
	attributes := filepath.Join(path, "meta")
	err := filepath.WalkDir(filepath.Join(d.sidecar, attributes), func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return durable.Sync(name)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("sync the metadata: %w", err)
	}
	return durable.SyncDirs(d.sidecar, attributes)
}

// settlePart does the same for a part of an upload.
func (d disk) settlePart(bucket, key, uploadID string, number int32) error {
	return d.settle(bucket, filepath.Join(uploadDir(key), uploadID, strconv.Itoa(int(number))))
}

// uploadDir is the gateway's directory of the uploads of a key.
func uploadDir(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(posix.MetaTmpMultipartDir, hex.EncodeToString(sum[:]))
}
