package embedded

import (
	"os"

	"github.com/versity/versitygw/backend/meta"
)

// partsAttribute is the gateway's name for the attribute with the upload of a
// multipart object and the sizes of its parts.
const partsAttribute = "mp-metadata"

// On ext4, all attributes of a file share 4 KiB.
const maxPartsAttribute = 2 << 10

// attributes keeps metadata in extended attributes. It leaves out a list of
// parts that is too long for them, which happens above some 400 parts. With
// such a list completing the upload would fail. Without it only one answer
// changes: a GET by part number returns the whole object as part 1.
type attributes struct{ meta.XattrMeta }

func (a attributes) StoreAttribute(f *os.File, bucket, object, attribute string, value []byte) error {
	if attribute == partsAttribute && len(value) > maxPartsAttribute {
		return nil
	}
	return a.XattrMeta.StoreAttribute(f, bucket, object, attribute, value)
}
