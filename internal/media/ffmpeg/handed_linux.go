package ffmpeg

import (
	"fmt"
	"os"
)

// read hands over a file to read, and returns the name under which ffmpeg opens it
// again, whatever it may see of folders.
func (h *handed) read(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	n := h.add(f)
	h.readOnly = append(h.readOnly, n)
	return descriptor(n), nil
}

// write hands over an empty file to write.
func (h *handed) write(path string) (string, error) {
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	n := h.add(f)
	h.writable = append(h.writable, n)
	return descriptor(n), nil
}

func descriptor(n int) string { return fmt.Sprintf("/proc/self/fd/%d", n) }
