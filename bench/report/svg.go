package report

import (
	"bytes"
	"fmt"
	"math"
)

// Sizes of the picture in pixels.
const (
	labelWidth, plotWidth, valueWidth = 200, 440, 60
	rowHeight, headHeight, footHeight = 20, 30, 34
)

// Colours of bars.
const faster, slower = "#2a7", "#c63"

// draw makes a picture of how many times faster than the peer each race was.
// Each race is a bar on a logarithmic scale. It goes from 1 to the right, or to
// the left if the race was slower.
func draw(races []race) []byte {
	low, high := scale(races)
	x := func(ratio float64) float64 {
		return labelWidth + plotWidth*(math.Log(ratio)-math.Log(low))/(math.Log(high)-math.Log(low))
	}
	height := footHeight + rowHeight*len(races)
	for i := range races {
		if newLink(races, i) {
			height += headHeight
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		labelWidth+plotWidth+valueWidth, height)
	fmt.Fprintln(&b, `<title>Times faster than ffmpeg with or without curl, by link and video</title>`)
	fmt.Fprintln(&b, `<rect width="100%" height="100%" fill="#fff"/>`)
	for _, tick := range []float64{0.5, 1, 2, 4, 8, 16, 32} {
		if tick < low || tick > high {
			continue
		}
		fmt.Fprintf(&b, `<path d="M%.1f 0V%d" stroke="%s"/><text x="%.1f" y="%d" text-anchor="middle" fill="#555">%g×</text>`+"\n",
			x(tick), height-footHeight+6, map[bool]string{true: "#333", false: "#ddd"}[tick == 1], x(tick), height-12, tick)
	}
	y := 0
	for i, r := range races {
		if newLink(races, i) {
			fmt.Fprintf(&b, `<text x="8" y="%d" font-weight="bold">%s</text>`+"\n", y+headHeight-9, r.Link)
			y += headHeight
		}
		from, to, colour := x(1), x(*r.Ratio), faster
		if *r.Ratio < 1 {
			from, to, colour = to, from, slower
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d">%s×</text>`+"\n",
			labelWidth-8, y+14, r.Video, from, y+3, to-from, rowHeight-6, colour, to+5, y+14, number(*r.Ratio))
		y += rowHeight
	}
	fmt.Fprintln(&b, `</svg>`)
	return b.Bytes()
}

// newLink reports whether a race is the first one on its link.
func newLink(races []race, i int) bool { return i == 0 || races[i].Link != races[i-1].Link }

// scale returns the range of the picture.
func scale(races []race) (low, high float64) {
	low, high = 0.5, 2
	for _, r := range races {
		low, high = min(low, *r.Ratio), max(high, *r.Ratio)
	}
	return low * 0.95, high * 1.05
}
