//go:build !linux

package ffmpeg

// read returns the name under which ffmpeg opens a file. A descriptor cannot be
// opened again on other systems.
func (h *handed) read(path string) (string, error) { return path, nil }

func (h *handed) write(path string) (string, error) { return path, nil }
