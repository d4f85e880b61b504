package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
)

// recoverUploads repairs uploads whose parts a gateway was joining when it was
// killed. It leaves the upload's directory under its working name, and every
// further attempt to join would be answered for ever as if the first one still
// ran. The upload becomes open again, or is dropped if its object was already
// in place. The working directory is the one with the buckets.
func recoverUploads(storer meta.MetadataStorer) error {
	dirs, err := filepath.Glob(filepath.Join("*", posix.MetaTmpMultipartDir, "*", "*.inprogress"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		bucket, path, _ := strings.Cut(dir, string(filepath.Separator))
		parent, name := filepath.Split(path)
		uploadID, _, _ := strings.Cut(name, ".")
		if joined(storer, bucket, filepath.Clean(parent), uploadID) {
			err = os.RemoveAll(dir)
		} else if err = os.Rename(dir, filepath.Join(bucket, parent, uploadID)); err == nil {
			err = storer.RenameObject(bucket, path, filepath.Join(parent, uploadID))
		}
		if err != nil {
			return fmt.Errorf("recover upload %s: %w", uploadID, err)
		}
	}
	return nil
}

// joined reports whether the object in the bucket was made by this upload.
func joined(storer meta.MetadataStorer, bucket, parent, uploadID string) bool {
	key, err := storer.RetrieveAttribute(nil, bucket, parent, "objname")
	if err != nil {
		return false
	}
	if _, err := os.Stat(filepath.Join(bucket, string(key))); err != nil {
		return false
	}
	data, err := storer.RetrieveAttribute(nil, bucket, string(key), partsAttribute)
	if err != nil {
		return false
	}
	upload, err := backend.UnmarshalMpUploadMetadata(data, false)
	return err == nil && upload.UploadID == uploadID
}
