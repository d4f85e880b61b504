package files

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"tonearm/internal/conversion"
)

// DefaultTemplate keeps the tree of the videos.
const DefaultTemplate = "{dir}/{name}.mp3"

// ErrTaken says that the one file that was asked for exists already.
var ErrTaken = errors.New("a file of this name exists already")

// Output says where MP3s go.
type Output struct {
	folder   string
	file     string // the path of the only MP3; '' for none
	template string

	mu    sync.Mutex
	taken map[string]bool // paths that MP3s of this command have or will have
	ready map[string]bool // folders that are made and cleaned
}

// NewOutput reads --out and --output-template. files is how many videos there are.
// Standard output is no Output.
func NewOutput(out, template string, files int) (*Output, error) {
	o := &Output{folder: out, template: template, taken: map[string]bool{}, ready: map[string]bool{}}
	if template == "" {
		o.template = DefaultTemplate
	}
	if info, err := os.Stat(out); strings.EqualFold(filepath.Ext(out), ".mp3") && (err != nil || !info.IsDir()) {
		switch {
		case template != "":
			return nil, errors.New("--output-template needs a folder as --out")
		case files > 1:
			return nil, fmt.Errorf("--out %s is one file, and there are %d videos; name a folder", out, files)
		}
		o.folder, o.file = filepath.Dir(out), out
	}
	if wrong := placeholder.FindString(known.ReplaceAllString(o.template, "")); wrong != "" {
		return nil, fmt.Errorf("--output-template: there is no %s; use {dir}, {name}, {ext} and {number}", wrong)
	}
	return o, nil
}

var (
	placeholder = regexp.MustCompile(`\{[^}]*\}?`)
	known       = regexp.MustCompile(`\{(dir|name|ext|number)\}`)
)

// Check makes the folder where it is missing, and looks whether files can be put
// there.
func (o *Output) Check() error {
	f, err := o.temp(o.folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Target is where one MP3 goes.
type Target struct {
	Path string
	Ours bool // an earlier run has put the MP3 there

	output   *Output
	base     string   // Path without a number
	occupied []string // paths with a lower number that other files have
	replace  string   // SHA-256 of the MP3 at Path that may be overwritten; ''
}

// Assign gives each file its target. places returns where earlier runs have put
// the MP3 of a file.
func (o *Output) Assign(all []*File, places func(*File) []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var rest []*File
	for i, f := range all {
		if f.Err != nil || f.Repeats != nil {
			continue
		}
		f.Target = &Target{output: o, base: o.name(f, i+1, len(all))}
		for _, place := range places(f) {
			if numberOf(f.Target.base, place) > 0 && !o.taken[key(place)] {
				f.Target.Path, f.Target.Ours = rebase(f.Target.base, place), true
				o.taken[key(place)] = true
				break
			}
		}
		if !f.Target.Ours {
			rest = append(rest, f)
		}
	}
	next := map[string]int{}
	occupied := map[string][]string{}
	for _, f := range rest {
		t := f.Target
		for n := max(next[t.base], 1); ; n++ {
			path := numbered(t.base, n)
			next[t.base] = n + 1
			if o.taken[key(path)] {
				continue
			}
			if _, err := os.Lstat(path); err == nil && o.file == "" {
				occupied[t.base] = append(occupied[t.base], path)
				continue
			}
			t.Path, t.occupied = path, occupied[t.base]
			o.taken[key(path)] = true
			break
		}
	}
}

// Release gives back the name of a file that has no MP3, so that the next Assign can
// use it.
func (o *Output) Release(f *File) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f.Target != nil {
		delete(o.taken, key(f.Target.Path))
	}
}

// name returns the path of a file's MP3, without a number.
func (o *Output) name(f *File, number, of int) string {
	if o.file != "" {
		return o.file
	}
	base := filepath.Base(f.Path)
	if f.Path == Stdin {
		base = "stdin"
	}
	name := strings.TrimSuffix(conversion.MP3Name(base), ".mp3")
	values := map[string]string{
		"{dir}": f.Folder, "{name}": name, "{ext}": strings.TrimPrefix(filepath.Ext(base), "."),
		"{number}": fmt.Sprintf("%0*d", len(strconv.Itoa(of)), number),
	}
	path := known.ReplaceAllStringFunc(o.template, func(p string) string { return values[p] })
	if !strings.EqualFold(filepath.Ext(path), ".mp3") {
		path += ".mp3"
	}
	return filepath.Join(o.folder, path)
}

// key returns what two paths of the same file have in common.
func key(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// rebase writes the absolute path place as base is written.
func rebase(base, place string) string {
	return filepath.Join(filepath.Dir(base), filepath.Base(place))
}

var numberedName = regexp.MustCompile(` \((\d+)\)\.mp3$`)

// numberOf returns n if place is numbered(base, n), and 0 if it is none of them.
func numberOf(base, place string) int {
	n := 1
	if m := numberedName.FindStringSubmatch(place); m != nil && key(base) != place {
		n, _ = strconv.Atoi(m[1])
	}
	if n > 0 && key(numbered(base, n)) == place {
		return n
	}
	return 0
}

// numbered returns path, or for n > 1 "stem (n).mp3", cut to what file systems take.
func numbered(path string, n int) string {
	dir, name := filepath.Split(path)
	ext := filepath.Ext(name)
	suffix := ext
	if n > 1 {
		suffix = fmt.Sprintf(" (%d)%s", n, ext)
	}
	stem := strings.TrimSuffix(name, ext)
	for len(stem)+len(suffix) > 255 {
		_, size := utf8.DecodeLastRuneInString(stem)
		stem = stem[:len(stem)-size]
	}
	return dir + stem + suffix
}

// Exists reports whether there is something at the target's path.
func (t *Target) Exists() bool {
	info, err := os.Stat(t.Path)
	return err == nil && info.Mode().IsRegular() && info.Size() > 0
}

// Skippable reports whether a file has the name that the MP3 would have without a
// number.
func (t *Target) Skippable() (path string, ok bool) {
	info, err := os.Stat(t.base)
	return t.base, err == nil && info.Mode().IsRegular() && info.Size() > 0
}

// Find returns where the MP3 with this size and SHA-256 is already: at the target's
// path, or at one that was passed over because a file is there.
func (t *Target) Find(size int64, sum string) (path string, ok bool) {
	for _, path := range append([]string{t.Path}, t.occupied...) {
		if same(path, size, sum) {
			return path, true
		}
	}
	return "", false
}

// Replace allows that the file at the target's path is overwritten as long as it is
// the MP3 with this SHA-256.
func (t *Target) Replace(sum string) { t.replace = sum }

// Check returns ErrTaken if the one file that was asked for exists.
func (t *Target) Check() error {
	if t.output.file != "" && !t.Ours && t.Exists() {
		return ErrTaken
	}
	return nil
}

// Temp returns a new file in the target's folder, which is made if it is missing.
// Save gives it its name; whoever does not call Save removes it.
func (t *Target) Temp() (*os.File, error) { return t.output.temp(filepath.Dir(t.Path)) }

const (
	tempPrefix = ".tonearm-"
	tempSuffix = ".part"
	// staleAfter is how old a file of a killed process is before it is removed. A
	// download that stands still fails long before.
	staleAfter = time.Hour
)

func (o *Output) temp(dir string) (*os.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ready[dir] {
		if err := os.MkdirAll(dir, 0o777); err != nil { //nolint:gosec // the user's files: the umask decides
			return nil, err
		}
		clean(dir)
		o.ready[dir] = true
	}
	name := filepath.Join(dir, fmt.Sprintf("%s%016x%s", tempPrefix, rand.Uint64(), tempSuffix))
	return os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o666) //nolint:gosec // the umask decides
}

// clean removes what killed processes left in a folder.
func clean(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) || !strings.HasSuffix(e.Name(), tempSuffix) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > staleAfter {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// Save gives temp the target's path, and returns the path. If that has been taken
// meanwhile, it is the next number. If the same MP3, which has size bytes and this
// SHA-256, is there already, temp is removed.
func (t *Target) Save(temp string, size int64, sum string) (string, error) {
	if path, ok := t.Find(size, sum); ok {
		return path, os.Remove(temp)
	}
	if t.replace != "" && same(t.Path, -1, t.replace) {
		return t.Path, os.Rename(temp, t.Path)
	}
	path := t.Path
	for n := 2; ; n++ {
		err := link(temp, path)
		switch {
		case err == nil:
			return path, nil
		case !errors.Is(err, fs.ErrExist):
			return "", err
		case same(path, size, sum):
			return path, os.Remove(temp)
		case t.output.file != "":
			return "", &fs.PathError{Op: "save", Path: path, Err: ErrTaken}
		}
		path = t.output.reserve(t.base, &n)
	}
}

// reserve returns the path with the next number from n on that is not promised.
func (o *Output) reserve(base string, n *int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for ; ; *n++ {
		if path := numbered(base, *n); !o.taken[key(path)] {
			o.taken[key(path)] = true
			return path
		}
	}
}

// link moves temp to path, unless something is there.
func link(temp, path string) error {
	err := os.Link(temp, path)
	if err == nil {
		return os.Remove(temp)
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	// A file system without links: an empty file holds the name, so that the renaming
	// overwrites nothing.
	holder, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666) //nolint:gosec // the umask decides
	if err != nil {
		return err
	}
	if err := errors.Join(holder.Close(), os.Rename(temp, path)); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// same reports whether the file at path has this SHA-256 and, if it is not
// negative, this size.
func same(path string, size int64, sum string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || size >= 0 && info.Size() != size {
		return false
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == sum
}
