package mp4

import (
	"fmt"
	"io"
)

// WriteSamples writes the bytes of a track's samples, in their order. The error is a
// Reason if the tables cannot be followed or samples are missing.
func (m *Movie) WriteSamples(t *Track, w io.Writer) error {
	if err := m.check(t); err != nil {
		return fmt.Errorf("samples of track %d: %w", t.ID, err)
	}
	err := t.eachChunk(m.file, func(c chunk) error {
		if c.size > m.Size || c.offset > m.Size-c.size {
			return Truncated
		}
		_, err := io.Copy(w, io.NewSectionReader(m.file, c.offset, c.size))
		return err
	})
	if err != nil {
		return fmt.Errorf("samples of track %d: %w", t.ID, err)
	}
	return nil
}
