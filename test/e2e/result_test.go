package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"testing"

	"tonearm/internal/media/mediatest"
)

// result is one line of `tonearm convert --json`.
type result struct {
	File  string  `json:"file"`
	ID    *string `json:"id"`
	State string  `json:"state"`
	MP3ID string  `json:"mp3_id"`
	MP3   string  `json:"mp3"`
	Size  int64   `json:"size"` // of the sound, if only that was sent
	Sent  *struct {
		What         string `json:"what"`
		OriginalSize int64  `json:"original_size"`
	} `json:"sent"`
	Error *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// readResults decodes the output of `tonearm convert --json`, by file.
func readResults(t *testing.T, stdout []byte) map[string]result {
	t.Helper()
	results := map[string]result{}
	lines := bufio.NewScanner(bytes.NewReader(stdout))
	for lines.Scan() {
		var r result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("not a line of JSON: %s", lines.Text())
		}
		results[r.File] = r
	}
	return results
}

// source is one file of the corpus and the result that it must have.
type source struct {
	name, path  string
	seconds, hz float64
	code        string // of its failure; '' if it can be converted
}

// makeCorpus makes the files; the hostile ones point to elsewhere.
func makeCorpus(t *testing.T, elsewhere string) []source {
	t.Helper()
	var corpus []source
	for _, s := range mediatest.Corpus(t, elsewhere) {
		corpus = append(corpus, source{s.Name, s.Path, s.Seconds, s.ToneHz, string(s.WantCode)})
	}
	return corpus
}
