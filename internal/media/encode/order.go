package encode

import (
	"fmt"
	"strings"

	"tonearm/internal/media/mp4"
)

// reorder puts channels into the usual order, unless they are in it (an empty text).
// ffmpeg 5 ignores any other order of a MOV, and ffmpeg 7 cannot mix it. The gain
// is 1 as soon as it is a number of single precision; a gain of exactly 1 makes the
// filter another one, which ffmpeg 7 refuses.
func reorder(order string) []string {
	if order == "" {
		return nil
	}
	names, from := mp4.SortChannels(order)
	pan := "pan=" + strings.Join(names, "+")
	for i, name := range names {
		pan += fmt.Sprintf("|%s=0.99999999*c%d", name, from[i])
	}
	return []string{pan}
}
