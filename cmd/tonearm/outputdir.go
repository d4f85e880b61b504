package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode/utf8"

	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
)

// outputDir is the directory for the MP3s. It never overwrites a file.
type outputDir struct {
	dir string

	mu    sync.Mutex
	taken map[string]bool // paths that this process has put there
}

// openOutputDir makes the directory where it is missing, and checks that files can
// be put there before anything is uploaded.
func openOutputDir(dir string) (*outputDir, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil { //nolint:gosec // the user's files: the umask decides
		return nil, fmt.Errorf("cannot make the folder for the MP3s: %w. Choose another one with --out", err)
	}
	d := &outputDir{dir: dir, taken: map[string]bool{}}
	f, err := d.temp()
	if err != nil {
		return nil, fmt.Errorf("cannot write to the folder for the MP3s: %w. Choose another one with --out", err)
	}
	f.Close()
	return d, os.Remove(f.Name())
}

func (d *outputDir) temp() (*os.File, error) { return os.CreateTemp(d.dir, ".tonearm-*.part") }

// fetch downloads an MP3 and names it after the video. It returns where it is.
func (d *outputDir) fetch(ctx context.Context, c *client.Client, m api.MP3, video string, progress func(int64)) (string, error) {
	f, err := d.temp()
	if err != nil {
		return "", &client.LocalError{Err: err}
	}
	defer func() { _ = os.Remove(f.Name()) }() // where it was not renamed
	defer f.Close()
	if err := c.Download(ctx, m, f, progress); err != nil {
		return "", err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return "", &client.LocalError{Err: err}
	}
	path, err := d.place(f.Name(), mp3Name(video), m.SHA256)
	if err != nil {
		return "", &client.LocalError{Err: err}
	}
	return path, nil
}

// place gives a file its name, or "name (2).mp3" and so on if that is taken. If
// an earlier run has put the same MP3 there, it is not put there again.
func (d *outputDir) place(file, name, sum string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := 1; ; i++ {
		path := filepath.Join(d.dir, numbered(name, i))
		if d.taken[path] {
			continue
		}
		// An empty file holds the name, so that the renaming overwrites nothing.
		holder, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666) //nolint:gosec // the umask decides
		if errors.Is(err, fs.ErrExist) {
			if sameContent(path, sum) {
				d.taken[path] = true
				return path, nil
			}
			continue
		}
		if err != nil {
			return "", err
		}
		mode, err := holder.Stat() // as the umask has it; the file's is 0600
		holder.Close()
		if err == nil {
			err = os.Chmod(file, mode.Mode().Perm())
		}
		if err == nil {
			err = os.Rename(file, path)
		}
		if err != nil {
			return "", errors.Join(err, os.Remove(path))
		}
		d.taken[path] = true
		return path, nil
	}
}

// mp3Name returns the name of the MP3 made from a video. It is made here, not
// taken from the server, which must not choose where files go.
func mp3Name(video string) string { return conversion.MP3Name(filepath.Base(video)) }

// numbered returns name, or for i > 1 "stem (i).mp3", cut to what file systems
// take.
func numbered(name string, i int) string {
	suffix := ".mp3"
	if i > 1 {
		suffix = fmt.Sprintf(" (%d).mp3", i)
	}
	stem := strings.TrimSuffix(name, ".mp3")
	for len(stem)+len(suffix) > 255 {
		_, size := utf8.DecodeLastRuneInString(stem)
		stem = stem[:len(stem)-size]
	}
	return stem + suffix
}

func sameContent(path, sum string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return false
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == sum
}
