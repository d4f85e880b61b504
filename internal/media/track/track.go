// Package track chooses one of a source's audio tracks. Who sends only the sound of a
// video and who converts it must choose the same one.
package track

import (
	"slices"
	"strconv"
)

// Track is what a choice looks at.
type Track struct {
	Language string // as the container has it; empty: none
	Default  bool   // the container's default track
	Unfit    bool   // it surely cannot be decoded
}

// Choose returns the index of the track that want names: by index, by language, or, for an
// empty text, for the container's default. If the default cannot be decoded, it is the first that
// can: phones write a spatial track beside a plain one. It returns -1 if there is no
// such track.
func Choose(tracks []Track, want string) int {
	if want == "" {
		preferred := max(0, slices.IndexFunc(tracks, func(t Track) bool { return t.Default }))
		if first := slices.IndexFunc(tracks, func(t Track) bool { return !t.Unfit }); first >= 0 && tracks[preferred].Unfit {
			return first
		}
		return min(preferred, len(tracks)-1)
	}
	if n, err := strconv.Atoi(want); err == nil {
		if n < 0 || n >= len(tracks) {
			return -1
		}
		return n
	}
	return slices.IndexFunc(tracks, func(t Track) bool { return sameLanguage(t.Language, want) })
}
