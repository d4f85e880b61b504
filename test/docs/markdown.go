// Package docs reads the shell blocks of the documents. Its test, make
// docs-test, runs them.
package docs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Mark says what a block needs that a machine for tests does not have.
type Mark string

// The marks. A block without one runs against `tonearm up`.
const (
	Cluster Mark = "cluster" // a Kubernetes node: the cluster test runs it
	Cloud   Mark = "cloud"   // servers or downloads from outside
	Root    Mark = "root"    // changes to the machine itself
)

// Block is one fenced block of shell commands.
type Block struct {
	File string // from the repository's root
	Line int    // of its first command
	Mark Mark
	Code string // with a line break at the end

	// Prints are lines that the block has to print, in this order. In them, …
	// stands for anything.
	Prints []string
}

func (b Block) String() string { return fmt.Sprintf("%s:%d", b.File, b.Line) }

// Documents returns the paths of the documents for users and operators: those
// in root, in docs and in kustomize. README.md comes first.
func Documents(root string) ([]string, error) {
	var paths []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && filepath.Dir(path) == root && name != "docs" && name != "kustomize" {
			return fs.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			paths = append(paths, path)
		}
		return nil
	})
	readme := filepath.Join(root, "README.md")
	slices.SortFunc(paths, func(a, b string) int {
		switch readme {
		case a:
			return -1
		case b:
			return 1
		}
		return strings.Compare(a, b)
	})
	return paths, err
}

var (
	fence  = regexp.MustCompile("^ *```(.*)$")
	marked = regexp.MustCompile(`^ *<!-- run: (.*) -->$`)
)

// languages of the blocks that hold no commands.
var languages = []string{"caddyfile", "go", "ini", "json", "sql", "text", "yaml"}

// Blocks returns the shell blocks of a document in their order.
func Blocks(root, path string) ([]Block, error) {
	content, err := os.ReadFile(path) //nolint:gosec // a document of this repository
	if err != nil {
		return nil, err
	}
	file, err := filepath.Rel(root, path)
	if err != nil {
		return nil, err
	}
	var blocks []Block
	before := "" // the last line that is not empty
	lines := strings.Split(string(content), "\n")
	for i := 0; i < len(lines); i++ {
		m := fence.FindStringSubmatch(lines[i])
		if m == nil {
			if line := strings.TrimSpace(lines[i]); line != "" {
				before = line
			}
			continue
		}
		start := i + 1
		for i++; i < len(lines) && strings.TrimSpace(lines[i]) != "```"; i++ {
		}
		if i == len(lines) {
			return nil, fmt.Errorf("%s:%d: the block has no end", file, start)
		}
		b := Block{File: file, Line: start + 1, Code: strings.Join(lines[start:i], "\n") + "\n"}
		if blocks, err = appendBlock(blocks, b, m[1], before); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, start, err)
		}
		before = ""
	}
	return blocks, nil
}

// appendBlock appends b if it is one of commands. before is the line above it.
func appendBlock(blocks []Block, b Block, language, before string) ([]Block, error) {
	if language == "text" && before == "<!-- prints -->" {
		if len(blocks) == 0 {
			return nil, errors.New("no commands above print this")
		}
		blocks[len(blocks)-1].Prints = strings.Split(strings.TrimSuffix(b.Code, "\n"), "\n")
		return blocks, nil
	}
	switch {
	case slices.Contains(languages, language):
		if strings.HasPrefix(b.Code, "$ ") {
			return nil, errors.New("commands belong into a block of language sh, without a prompt")
		}
		return blocks, nil
	case language != "sh":
		return nil, fmt.Errorf("language %q; use sh for commands, or %s", language, strings.Join(languages, ", "))
	}
	if m := marked.FindStringSubmatch(before); m != nil {
		b.Mark = Mark(m[1])
		if b.Mark != Cluster && b.Mark != Cloud && b.Mark != Root {
			return nil, fmt.Errorf("mark %q; use %s, %s or %s", b.Mark, Cluster, Cloud, Root)
		}
	}
	return append(blocks, b), nil
}

// ClusterDocuments are the documents whose blocks with the mark Cluster the
// cluster test runs.
var ClusterDocuments = []string{"kustomize/overlays/edge/README.md", "kustomize/overlays/test/README.md"}
