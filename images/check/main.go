// Check looks at what is in the archive of an image, as scripts/images writes
// it, and prints its unpacked size. It fails if there is a shell, if an image
// with static programs has a dynamic one or a library, or if the transcoder's
// is too large.
package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// maxTranscoder is in bytes, unpacked. A node that does not have the image
// starts its first pod that much later.
const maxTranscoder = 40e6

var (
	shells    = []string{"sh", "ash", "bash", "busybox", "dash", "ksh", "toybox", "zsh"}
	reLibrary = regexp.MustCompile(`\.so(\.[0-9.]+)?$`)
)

// file is one file of an image.
type file struct {
	size    int64
	dynamic bool // a program or library that loads others
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: check NAME.tar")
		os.Exit(2)
	}
	size, err := check(os.Args[1])
	if err != nil {
		fmt.Fprintf(os.Stderr, "check %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	fmt.Printf("%.1f MB\n", float64(size)/1e6)
}

// check returns the unpacked size of the image. The archive is named for it.
func check(archive string) (size int64, err error) {
	name := strings.TrimSuffix(filepath.Base(archive), ".tar")
	files, err := read(archive)
	if err != nil {
		return 0, err
	}
	if len(files) == 0 {
		return 0, errors.New("the image is empty")
	}
	var wrong []error
	for p, f := range files {
		size += f.size
		base := path.Base(p)
		if slices.Contains(shells, base) {
			wrong = append(wrong, fmt.Errorf("%s is a shell", p))
		}
		if name != "transcoder-gpu" && (f.dynamic || reLibrary.MatchString(base)) {
			wrong = append(wrong, fmt.Errorf("%s is not static", p))
		}
	}
	if name == "transcoder" && size >= maxTranscoder {
		wrong = append(wrong, fmt.Errorf("it has %d bytes, %d are too many", size, int64(maxTranscoder)))
	}
	return size, errors.Join(wrong...)
}

// read returns the files of all layers by their paths. A file of a later layer
// takes the place of an earlier one.
func read(archive string) (map[string]file, error) {
	layers, err := layers(archive)
	if err != nil {
		return nil, err
	}
	files := map[string]file{}
	for _, layer := range layers {
		err := each(archive, func(h *tar.Header, r io.Reader) error {
			if h.Name != layer {
				return nil
			}
			return walk(r, func(h *tar.Header, r io.Reader) error {
				content, err := io.ReadAll(r)
				if h.Typeflag != tar.TypeDir {
					files[path.Clean("/"+h.Name)] = file{int64(len(content)), dynamic(content)}
				}
				return err
			})
		})
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", layer, err)
		}
	}
	return files, nil
}

// layers returns the names of the layers in the archive, the lowest first.
func layers(archive string) ([]string, error) {
	var images []struct{ Layers []string }
	links := map[string]string{}
	err := each(archive, func(h *tar.Header, r io.Reader) error {
		if h.Typeflag == tar.TypeSymlink { // buildah writes a layer once
			links[h.Name] = path.Join(path.Dir(h.Name), h.Linkname) //nolint:gosec // a name to compare; nothing is unpacked
		}
		if h.Name != "manifest.json" {
			return nil
		}
		return json.NewDecoder(r).Decode(&images)
	})
	if err != nil {
		return nil, err
	}
	if len(images) != 1 {
		return nil, fmt.Errorf("manifest.json has %d images, want 1", len(images))
	}
	names := images[0].Layers
	for i, name := range names {
		if target, ok := links[name]; ok {
			names[i] = target
		}
	}
	return names, nil
}

// each calls f for each entry of a tar file.
func each(archive string, f func(*tar.Header, io.Reader) error) (err error) {
	r, err := os.Open(archive) //nolint:gosec // the file to look at
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return walk(r, f)
}

func walk(r io.Reader, f func(*tar.Header, io.Reader) error) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(h, t); err != nil {
			return err
		}
	}
}

// dynamic reports whether a file is a program that wants a loader, or loads
// libraries. A static program may have a dynamic section, but names neither.
func dynamic(content []byte) bool {
	f, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return false // no program
	}
	libraries, err := f.ImportedLibraries()
	return err != nil || len(libraries) > 0 || slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}
