package embedded

import (
	"os"

	"github.com/versity/versitygw/backend/meta"
)

// What the gateway calls the attribute with a multipart object's upload and the
// sizes of its parts.
const partsAttribute = "mp-metadata"

// On ext4, all attributes of a file share 4 KiB.
const maxPartsAttribute = 2 << 10

// attributes keeps metadata in extended attributes. It leaves out a list of
// parts that would not fit, above some 400 parts: completing the upload would
// fail for it, and without it only a GET by part's number is answered
// otherwise, with the whole object as part 1.
type attributes struct{ meta.XattrMeta }

func (a attributes) StoreAttribute(f *os.File, bucket, object, attribute string, value []byte) error {
	if attribute == partsAttribute && len(value) > maxPartsAttribute {
		return nil
	}
	return a.XattrMeta.StoreAttribute(f, bucket, object, attribute, value)
}
