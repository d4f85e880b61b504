package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"tonearm/internal/api"
)

// oldLife is how long the key of an unfinished file was kept: its upload has
// expired by then.
const oldLife = 8 * 24 * time.Hour

// Old is the folder in which versions before 0.2.0 kept the keys of unfinished
// files: one file for each, with the key in it and a name that follows from the
// request.
type Old string

// Sweep removes keys that no server knows any more.
func (dir Old) Sweep() {
	entries, _ := os.ReadDir(string(dir))
	for _, e := range entries {
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() && time.Since(st.ModTime()) > oldLife {
			_ = os.Remove(filepath.Join(string(dir), e.Name()))
		}
	}
}

// Key returns the key under which an earlier version has begun a file with this
// request, or empty.
func (dir Old) Key(s Source, request api.NewConversion) string {
	b, err := os.ReadFile(dir.path(s, request))
	key := strings.TrimSpace(string(b))
	if err != nil || uuid.Validate(key) != nil {
		return ""
	}
	return key
}

// Keep writes a key, so that an earlier version goes on with the file, too, if the
// user goes back to one. It is of no use where the earlier version asks for
// something else than request.
func (dir Old) Keep(s Source, request api.NewConversion, key string) {
	if os.MkdirAll(string(dir), 0o700) == nil {
		_ = os.WriteFile(dir.path(s, request), []byte(key+"\n"), 0o600)
	}
}

// Forget drops the key.
func (dir Old) Forget(s Source, request api.NewConversion) { _ = os.Remove(dir.path(s, request)) }

func (dir Old) path(s Source, request api.NewConversion) string {
	const repeat = 0                                                                   // how often the file was named before in the same command
	id, _ := json.Marshal([]any{s.Server, s.Path, s.Size, s.ModTime, request, repeat}) // cannot fail
	sum := sha256.Sum256(id)
	return filepath.Join(string(dir), hex.EncodeToString(sum[:16]))
}
