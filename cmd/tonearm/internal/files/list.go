package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Stdin is the name of a video that is read from standard input, and of an MP3
// that is written to standard output.
const Stdin = "-"

// Reasons why a file cannot be converted.
var (
	ErrFolder     = errors.New("this is a folder")
	ErrNotRegular = errors.New("this is not a regular file")
)

// File is a video on the command line.
type File struct {
	Path    string      // as it was named, or below the folder that was named
	Abs     string      // absolute
	Folder  string      // below the folder that was named; '' if the file was named itself
	Info    fs.FileInfo // nil if Err is not
	Err     error       // why it cannot be converted
	Repeats *File       // the same file earlier in the list; nil for none
	Target  *Target     // where its MP3 goes; nil before Assign
}

// extensions of the videos that are looked for in folders. Other files can be
// named.
var extensions = strings.Fields("3g2 3gp asf avi dv f4v flv m2p m2t m2ts m4v mj2 mkv mod mov mp4 mpeg mpg mts mxf ogv qt tod ts vob webm wmv wtv")

// List returns the videos that args name: files and, if recursive, folders with
// the videos in them and in the folders below. Hidden files and folders are left
// out unless they are named.
func List(args []string, recursive bool) []*File {
	var all []*File
	for _, arg := range args {
		if arg == Stdin {
			all = append(all, &File{Path: arg})
			continue
		}
		info, err := os.Stat(arg)
		switch {
		case err == nil && info.IsDir() && recursive:
			all = append(all, walk(arg)...)
			continue
		case err == nil && info.IsDir():
			err = ErrFolder
		case err == nil && !info.Mode().IsRegular():
			err = ErrNotRegular
		}
		all = append(all, newFile(arg, "", info, err))
	}
	first := map[string]*File{}
	for _, f := range all {
		if f.Path == Stdin {
			continue
		}
		if f.Repeats = first[f.Abs]; f.Repeats == nil {
			first[f.Abs] = f
		}
	}
	return all
}

func newFile(path, folder string, info fs.FileInfo, err error) *File {
	f := &File{Path: path, Folder: folder, Info: info, Err: err}
	if abs, err := filepath.Abs(path); err == nil {
		f.Abs = abs
	} else {
		f.Abs = path
	}
	if err != nil {
		f.Info = nil
	}
	return f
}

// walk returns the videos in a folder and below, by name. A link to a video is one;
// a link to a folder is not followed, as it may lead back. A folder that cannot be
// read is in the list with its error.
func walk(root string) []*File {
	var all []*File
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			all = append(all, newFile(path, "", nil, err))
			return fs.SkipDir
		}
		if path != root && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !Video(path) {
			return nil
		}
		info, err := os.Stat(path)
		if err == nil && !info.Mode().IsRegular() {
			return nil
		}
		folder, _ := filepath.Rel(root, filepath.Dir(path)) // path lies below root
		if folder == "." {
			folder = ""
		}
		all = append(all, newFile(path, folder, info, err))
		return nil
	})
	return all
}

// Video reports whether a file has the name of a video. It looks into .ts files,
// most of which are TypeScript.
func Video(path string) bool {
	ext := strings.ToLower(strings.TrimPrefix(filepath.Ext(path), "."))
	if !slices.Contains(extensions, ext) {
		return false
	}
	return ext != "ts" || transportStream(path)
}

// transportStream reports whether the file begins like MPEG-TS: a sync byte every
// 188 bytes (ISO/IEC 13818-1, 2.4.3.2).
func transportStream(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return true // its error is told later
	}
	defer f.Close()
	const sync, packet = 0x47, 188
	b := make([]byte, packet+1)
	_, err = io.ReadFull(f, b)
	return err == nil && b[0] == sync && b[packet] == sync
}
