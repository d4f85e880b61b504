// Package results keeps figures: a JSON object of figures by name. Several
// programs add to it, and each replaces only what it measured itself.
package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// Figure is one result. If it is compared with a peer, Ratio is above 1 if ours
// is better.
type Figure struct {
	Ours   float64            `json:"ours"`
	Peer   *float64           `json:"peer,omitempty"`
	Ratio  *float64           `json:"ratio,omitempty"`
	Unit   string             `json:"unit"`            // s, ms, MB, Mbit/s; '' for a plain number
	Floor  float64            `json:"floor,omitempty"` // what nothing can go below, in Unit; 0 if unknown
	Spread map[string]Range   `json:"spread,omitempty"`
	More   map[string]float64 `json:"more,omitempty"` // in Unit, unless the name says otherwise
	Note   string             `json:"note,omitempty"` // what it was measured with
}

// Range holds the smallest and the largest measured value.
type Range [2]float64

// Against returns a figure beside its peer's, where smaller is better.
func Against(ours, peer float64, unit string) Figure {
	ours, peer = rounded(ours), rounded(peer)
	ratio := rounded(peer / ours)
	return Figure{Ours: ours, Peer: &peer, Ratio: &ratio, Unit: unit}
}

// Rate returns a figure beside its peer's, where larger is better.
func Rate(ours, peer float64, unit string) Figure {
	f := Against(ours, peer, unit)
	ratio := rounded(ours / peer)
	f.Ratio = &ratio
	return f
}

// Plain returns a figure without a peer.
func Plain(ours float64, unit string) Figure { return Figure{Ours: rounded(ours), Unit: unit} }

// NewRange returns a range, rounded like figures.
func NewRange(lowest, highest float64) Range { return Range{rounded(lowest), rounded(highest)} }

// String writes the figure for people.
func (f Figure) String() string {
	s := fmt.Sprintf("%8.4g %-6s", f.Ours, f.Unit)
	if f.Peer != nil && f.Ratio != nil {
		s += fmt.Sprintf(" peer %8.4g  ratio %5.2f", *f.Peer, *f.Ratio)
	}
	if f.Floor > 0 {
		s += fmt.Sprintf("  floor %.4g (%.2f times that)", f.Floor, f.OverFloor())
	}
	for _, name := range slices.Sorted(maps.Keys(f.More)) {
		s += fmt.Sprintf("  %s %.4g", name, f.More[name])
	}
	if f.Note != "" {
		s += "  " + f.Note
	}
	return s
}

// rounded keeps four digits: no measurement here is more exact.
func rounded(x float64) float64 {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}

// Read returns all figures of a file; none if there is no file.
func Read(path string) (map[string]Figure, error) {
	figures := map[string]Figure{}
	if err := read(path, &figures); err != nil {
		return nil, err
	}
	return figures, nil
}

// Merge replaces or adds the named figures in a file. All others stay as they
// are, whatever they hold. The file is replaced in one step.
func Merge(path string, figures map[string]Figure) error {
	if len(figures) == 0 {
		return nil
	}
	all := map[string]json.RawMessage{}
	if err := read(path, &all); err != nil {
		return err
	}
	for name, f := range figures {
		content, err := json.Marshal(f)
		if err != nil {
			return fmt.Errorf("results: %s: %w", name, err)
		}
		all[name] = content
	}
	return replace(path, lines(all))
}

// lines writes a line for each figure, in the order of their names.
func lines(all map[string]json.RawMessage) []byte {
	var b bytes.Buffer
	for i, name := range slices.Sorted(maps.Keys(all)) {
		b.WriteString([]string{"{\n", ",\n"}[min(i, 1)])
		fmt.Fprintf(&b, "  %q: ", name)
		_ = json.Compact(&b, all[name]) // it is JSON: it was read or made as such
	}
	b.WriteString("\n}\n")
	return b.Bytes()
}

func read(path string, into any) error {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("results: %s: %w", path, err)
	}
	return nil
}

func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".results-")
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("results: %w", err), os.Remove(f.Name()))
	}
	return nil
}
