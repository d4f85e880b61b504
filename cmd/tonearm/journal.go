package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/adrg/xdg"
	"github.com/google/uuid"

	"tonearm/internal/api"
)

// journalLife is how long the key of an unfinished file is kept; an upload has
// expired by then.
const journalLife = 8 * 24 * time.Hour

// journal keeps the idempotency key of each file until its MP3 is there or it
// has failed. With it, the same command finds the same conversions again after
// an interruption, and goes on with their uploads. If nothing can be written,
// keys last only as long as the process.
type journal struct{ dir string }

func openJournal() journal {
	j := journal{filepath.Join(xdg.StateHome, "tonearm", "conversions")}
	entries, _ := os.ReadDir(j.dir)
	for _, e := range entries {
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() && time.Since(st.ModTime()) > journalLife {
			_ = os.Remove(filepath.Join(j.dir, e.Name()))
		}
	}
	return j
}

// entry is the key of one file.
type entry struct {
	path string
	key  string
	old  bool // from an earlier run
}

// entry returns the key for converting a file with this request. If the file is
// the same as in an earlier run, it is the key from that run. repeat
// distinguishes the same file given twice in one run. See api.NewConversion
// about hashes.
func (j journal) entry(server, file string, st fs.FileInfo, request api.NewConversion, repeat int) entry {
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	id, _ := json.Marshal([]any{server, file, st.Size(), st.ModTime().UnixNano(), request, repeat}) // cannot fail
	sum := sha256.Sum256(id)
	e := entry{path: filepath.Join(j.dir, hex.EncodeToString(sum[:16]))}
	if b, err := os.ReadFile(e.path); err == nil && uuid.Validate(strings.TrimSpace(string(b))) == nil {
		e.key, e.old = strings.TrimSpace(string(b)), true
		return e
	}
	return e.renew()
}

// renew draws another key.
func (e entry) renew() entry {
	e.key, e.old = uuid.NewString(), false
	_ = writePrivate(e.path, []byte(e.key+"\n"))
	return e
}

// forget drops the key: the file is finished.
func (e entry) forget() { _ = os.Remove(e.path) }
