package limit

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
)

// Key is a key for what the names say, such as an account and a network: short
// whatever their length, and without them. kind keeps apart what is about the
// same names.
func Key(kind string, names ...string) string {
	h := sha256.New()
	for _, name := range names { // with its length, so that no two lists are the same text
		h.Write([]byte(strconv.Itoa(len(name)) + ":" + name))
	}
	return kind + ":" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}
