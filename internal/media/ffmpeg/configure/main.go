// Configure prints the arguments of ffmpeg's configure for a build that has
// what package media uses of ffmpeg, one a line.
package main

import (
	"fmt"
	"maps"
	"slices"

	"tonearm/internal/media/ffmpeg"
)

func main() {
	components := ffmpeg.Components()
	for _, kind := range slices.Sorted(maps.Keys(components)) {
		for _, name := range components[kind] {
			fmt.Printf("--enable-%s=%s\n", kind, name)
		}
	}
}
