package media

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"tonearm/internal/conversion"
	"tonearm/internal/media/id3"
)

// tagged is the tag of an MP3 and what is in it.
type tagged struct {
	bytes    []byte           // ID3v2.4; nil where there is nothing to say
	cover    conversion.Cover // '' for none
	chapters int
	notes    []conversion.Note
}

// tag makes the tag of the MP3. It fails only where ctx ends: what cannot be
// had is left out, with a note.
func (t Tool) tag(_ context.Context, spec EncodeSpec, _ plan) (tagged, error) {
	b, err := id3.Tag{Title: title(spec.Source.Title, spec.Filename)}.Bytes()
	if err != nil {
		return tagged{}, fmt.Errorf("tag: %w", err)
	}
	return tagged{bytes: b}, nil
}

// assemble writes the target anew: the tag, then what the file of frames holds.
func assemble(target string, tag []byte, frames string) error {
	in, err := os.Open(frames)
	if err != nil {
		return fmt.Errorf("assemble: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("assemble: %w", err)
	}
	_, err = io.Copy(out, io.MultiReader(bytes.NewReader(tag), in))
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("assemble: %w", err)
	}
	return nil
}
