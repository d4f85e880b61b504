package mp4

import (
	"encoding/binary"
	"io"
	"slices"
	"strings"
)

// layouts are orders of channels by their tags in a chan box, without the number
// of channels: those of three and more that are not in the usual order. Names are
// ffmpeg's. Source: CoreAudioTypes.h, kAudioChannelLayoutTag.
var layouts = map[uint32]string{
	114: "FC FL FR", 116: "FC FL FR BC",
	118: "FL FR SL SR FC", 119: "FL FC FR SL SR", 120: "FC FL FR SL SR",
	122: "FL FR SL SR FC LFE", 123: "FL FC FR SL SR LFE", 124: "FC FL FR SL SR LFE",
	127: "FC FLC FRC FL FR SL SR LFE", 129: "FL FR SL SR FC LFE FLC FRC",
	138: "FL FR SL SR LFE", 139: "FL FR SL SR FC BC",
	141: "FC FL FR SL SR BC", 142: "FC FL FR SL SR BC LFE", 143: "FC FL FR SL SR BL BR", 144: "FC FL FR SL SR BL BR BC",
}

// labels are channels by their labels there (kAudioChannelLabel).
var labels = map[uint32]string{
	1: "FL", 2: "FR", 3: "FC", 4: "LFE", 5: "SL", 6: "SR", 7: "FLC", 8: "FRC", 9: "BC", 33: "BL", 34: "BR",
}

// defaults are ffmpeg's orders for numbers of channels.
var defaults = map[int64]string{
	3: "FL FR LFE", 4: "FL FR FC BC", 5: "FL FR FC BL BR", 6: "FL FR FC LFE BL BR", 7: "FL FR FC LFE BC SL SR", 8: "FL FR FC LFE BL BR SL SR",
}

// usualOrder is the order in which ffmpeg has channels.
var usualOrder = []string{"FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR"}

// readOrder returns the order of more than two channels that the chan box among the
// boxes between two offsets describes, with "+" between their names, if it is not
// the usual one. Channels with labels that say nothing are in the default order.
func readOrder(r io.ReaderAt, from, to, channels int64) string {
	var layout Box
	_ = eachBox(r, Box{Body: from, End: to}, func(b Box) error {
		if b.Kind == "chan" {
			layout = b
		}
		return nil
	})
	var h [16]byte // version and flags, tag, bitmap, number of descriptions
	if layout.End == 0 || readAt(r, h[:], layout.Body, layout.End) != nil {
		return ""
	}
	if tag := binary.BigEndian.Uint32(h[4:]); tag != 0 {
		if names := strings.Fields(layouts[tag>>16]); int64(len(names)) == channels {
			return strings.Join(names, "+")
		}
		return ""
	}
	unlabelled := strings.ReplaceAll(defaults[channels], " ", "+")
	if int64(binary.BigEndian.Uint32(h[12:])) != channels {
		return ""
	}
	var names []string
	for i := range channels {
		var label [4]byte
		if unlabelled == "" || readAt(r, label[:], layout.Body+16+20*i, layout.End) != nil {
			return ""
		}
		name := labels[binary.BigEndian.Uint32(label[:])]
		if name == "" || slices.Contains(names, name) {
			return unlabelled
		}
		names = append(names, name)
	}
	if slices.IsSortedFunc(names, func(a, b string) int { return slices.Index(usualOrder, a) - slices.Index(usualOrder, b) }) {
		return ""
	}
	return strings.Join(names, "+")
}

// SortChannels returns the channels of an order in the usual one, and where each
// stands in it.
func SortChannels(order string) (names []string, from []int) {
	given := strings.Split(order, "+")
	names = slices.SortedFunc(slices.Values(given), func(a, b string) int { return slices.Index(usualOrder, a) - slices.Index(usualOrder, b) })
	for _, name := range names {
		from = append(from, slices.Index(given, name))
	}
	return names, from
}
