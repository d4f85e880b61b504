// Command mkimage writes an image of one layer out of files of this machine, as
// an archive that `ctr images import` and `docker load` read.
//
//	mkimage -tag NAME:TAG -o FILE [-entrypoint A,B] [-link NAME=TARGET]… SRC=DST…
//
// The same files give the same archive.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path"
	"runtime"
	"strings"
)

func main() {
	tag := flag.String("tag", "", "image `reference`")
	out := flag.String("o", "", "`file` to write")
	entrypoint := flag.String("entrypoint", "", "`program` and arguments, divided by commas")
	var links []string
	flag.Func("link", "symbolic link `NAME=TARGET`; may be repeated", func(s string) error { links = append(links, s); return nil })
	flag.Parse()
	image, err := archive(*tag, *entrypoint, flag.Args(), links)
	if err == nil {
		err = os.WriteFile(*out, image, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

// archive returns the whole image archive.
func archive(tag, entrypoint string, files, links []string) ([]byte, error) {
	content, err := layer(files, links)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	diff := hex.EncodeToString(sum[:])
	config := map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "created": "1970-01-01T00:00:00Z",
		"config": map[string]any{"Env": []string{"PATH=/bin"}, "Entrypoint": strings.FieldsFunc(entrypoint, func(r rune) bool { return r == ',' })},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + diff}},
	}
	described, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal([]map[string]any{{
		"Config": "config.json", "RepoTags": []string{tag}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range []struct {
		name    string
		content []byte
	}{{"layer.tar", content}, {"config.json", described}, {"manifest.json", manifest}} {
		if err := put(w, &tar.Header{Name: f.name, Mode: 0o644}, f.content); err != nil {
			return nil, err
		}
	}
	err = w.Close()
	return buf.Bytes(), err
}

// layer returns the files and links as a layer.
func layer(files, links []string) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	made := map[string]bool{".": true}
	for _, f := range files {
		src, dst, ok := strings.Cut(f, "=/")
		if !ok {
			return nil, fmt.Errorf("%q is not SRC=/DST", f)
		}
		if err := mkdir(w, made, path.Dir(dst)); err != nil {
			return nil, err
		}
		content, err := os.ReadFile(src)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(src)
		if err != nil {
			return nil, err
		}
		if err := put(w, &tar.Header{Name: dst, Mode: int64(info.Mode().Perm())}, content); err != nil {
			return nil, err
		}
	}
	for _, l := range links {
		name, target, _ := strings.Cut(strings.TrimPrefix(l, "/"), "=")
		if err := mkdir(w, made, path.Dir(name)); err != nil {
			return nil, err
		}
		if err := put(w, &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return buf.Bytes(), err
}

// mkdir puts dir and what it is in, once each.
func mkdir(w *tar.Writer, made map[string]bool, dir string) error {
	if made[dir] {
		return nil
	}
	if err := mkdir(w, made, path.Dir(dir)); err != nil {
		return err
	}
	made[dir] = true
	return put(w, &tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
}

func put(w *tar.Writer, h *tar.Header, content []byte) error {
	h.Size = int64(len(content))
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}
