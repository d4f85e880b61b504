package live

import (
	"fmt"
	"image"
	"image/color"
	"image/color/palette"
	stddraw "image/draw"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"tonearm/dashboards/grafana"
)

// picture is a panel and what it shows. A panel of type row begins a new file.
type picture struct {
	panel grafana.Panel
	lines []line
}

type line struct {
	name   string
	points plotter.XYs // seconds, value
}

// named gives each series of a query its name from the legend.
func named(q grafana.Target, all []series) []line {
	var lines []line
	for _, s := range all {
		l := line{name: regexp.MustCompile(`\{\{(\w+)\}\}`).ReplaceAllStringFunc(q.LegendFormat, func(label string) string {
			return s.labels[strings.Trim(label, "{}")]
		})}
		for _, p := range s.points {
			if !math.IsNaN(p.value) && !math.IsInf(p.value, 0) {
				l.points = append(l.points, plotter.XY{X: float64(p.at.UnixMilli()) / 1000, Y: p.value})
			}
		}
		if len(l.points) > 0 {
			lines = append(lines, l)
		}
	}
	return lines
}

// Sizes in points. A panel of width 24 is as wide as the whole picture.
const (
	wide   = 1000
	perRow = 22 // points for each unit of a panel's height
	most   = 9  // names in a legend
)

// draw writes a picture of each row, NAME-ROW.png, into a folder. The data and
// the queries are the same as in Grafana; the look is not.
func draw(t *testing.T, dir, name string, all []picture) {
	t.Helper()
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].panel.Type != "row" {
			n++
		}
		file := filepath.Join(dir, strings.ToLower(name+"-"+all[0].panel.Title)+".png")
		if err := drawRow(file, all[1:n]); err != nil {
			t.Fatal(err)
		}
		all = all[n:]
	}
}

func drawRow(file string, panels []picture) error {
	top, bottom := panels[0].panel.GridPos.Y, 0
	for _, p := range panels {
		bottom = max(bottom, p.panel.GridPos.Y+p.panel.GridPos.H)
	}
	height := vg.Length((bottom - top) * perRow)
	canvas := vgimg.NewWith(vgimg.UseWH(wide, height), vgimg.UseDPI(72))
	whole := vgdraw.New(canvas)
	for _, p := range panels {
		g := p.panel.GridPos
		at, err := p.plot()
		if err != nil {
			return fmt.Errorf("draw %s: %w", p.panel.Title, err)
		}
		const margin, column = 6, vg.Length(wide) / 24
		left, right := vg.Length(g.X)*column, vg.Length(24-g.X-g.W)*column
		up, down := vg.Length((g.Y-top)*perRow), vg.Length((bottom-g.Y-g.H)*perRow)
		at.Draw(vgdraw.Crop(whole, left+margin, -right-margin, down+margin, -up-margin))
	}
	return save(file, canvas.Image())
}

// save writes a picture with few colours, which makes it small.
func save(file string, from image.Image) error {
	small := image.NewPaletted(from.Bounds(), palette.WebSafe)
	stddraw.Draw(small, small.Bounds(), from, image.Point{}, stddraw.Src)
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(f, small); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return f.Close()
}

func (p picture) plot() (*plot.Plot, error) {
	g := plot.New()
	g.Title.Text = p.panel.Title
	for _, f := range []*font.Font{&g.Title.TextStyle.Font, &g.X.Tick.Label.Font, &g.Y.Tick.Label.Font, &g.Legend.TextStyle.Font} {
		f.Size, f.Variant = 9, "Sans"
	}
	unit := p.panel.FieldConfig.Defaults.Unit
	if p.panel.Type == "stat" {
		g.HideAxes()
		g.Title.TextStyle.Font.Size = 13
		for _, l := range p.lines {
			g.Title.Text += "\n" + strings.TrimSpace(l.name+" "+human(unit, l.points[0].Y))
		}
		return g, nil
	}
	g.X.Tick.Marker = plot.TimeTicks{Format: "15:04:05", Time: func(s float64) time.Time { return time.Unix(int64(s), 0).UTC() }}
	g.Y.Tick.Marker = marks{unit}
	g.Legend.Top, g.Legend.Left = true, true
	g.Add(plotter.NewGrid())
	lines := p.shown()
	for i, l := range lines {
		drawn, err := p.add(g, l, colours[i%len(colours)])
		if err != nil {
			return nil, err
		}
		switch {
		case i < most:
			g.Legend.Add(l.name, drawn)
		case i == most:
			g.Legend.Add(fmt.Sprintf("and %d more", len(lines)-most))
		}
	}
	if len(p.lines) == 0 {
		g.HideAxes()
		g.Title.Text += "\n(" + mayBeEmpty[p.panel.Title] + ")"
		return g, nil
	}
	g.Y.Min = 0
	if g.Y.Max <= 0 {
		g.Y.Max = 1
	}
	g.Y.Max *= 1.1 + 0.08*float64(min(len(lines), most)) // room for the legend
	return g, nil
}

// shown leaves out the lines that are always zero, if there are many lines.
func (p picture) shown() []line {
	var lines []line
	for _, l := range p.lines {
		if slices.ContainsFunc(l.points, func(at plotter.XY) bool { return at.Y != 0 }) {
			lines = append(lines, l)
		}
	}
	if len(p.lines) <= 4 {
		return p.lines
	}
	return lines
}

// add draws a line, or a bar for each of its points.
func (p picture) add(g *plot.Plot, l line, c color.Color) (plot.Thumbnailer, error) {
	drawn, err := plotter.NewLine(l.points)
	if err != nil {
		return nil, err
	}
	drawn.Color, drawn.Width = c, vg.Points(1.2)
	if p.panel.FieldConfig.Defaults.Custom["drawStyle"] != "bars" {
		g.Add(drawn)
		return drawn, nil
	}
	for _, at := range l.points {
		bar, err := plotter.NewLine(plotter.XYs{{X: at.X}, at})
		if err != nil {
			return nil, err
		}
		bar.Color, bar.Width = c, 3
		g.Add(bar)
	}
	return drawn, nil
}

// colours distinguish the lines of a panel.
var colours = []color.Color{
	color.RGBA{0x33, 0x99, 0x33, 0xff}, color.RGBA{0x33, 0x66, 0xcc, 0xff}, color.RGBA{0xff, 0x99, 0, 0xff},
	color.RGBA{0xcc, 0x33, 0x33, 0xff}, color.RGBA{0x99, 0x33, 0xcc, 0xff}, color.RGBA{0, 0x99, 0x99, 0xff},
	color.RGBA{0x66, 0x66, 0x66, 0xff}, color.RGBA{0xcc, 0x66, 0x99, 0xff}, color.RGBA{0x99, 0x99, 0, 0xff},
}

// marks are the numbers on the left axis, with their unit.
type marks struct{ unit string }

func (m marks) Ticks(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = human(m.unit, ticks[i].Value)
		}
	}
	return ticks
}

// human writes a value with its unit.
func human(unit string, v float64) string {
	suffix := map[string]string{"s": " s", "reqps": " req/s", "short": ""}[unit]
	switch {
	case unit == "percentunit":
		return fmt.Sprintf("%.3g %%", 100*v)
	case unit == "bytes" || unit == "Bps":
		for _, u := range []string{"B", "kB", "MB"} {
			if suffix = " " + u; v < 1000 {
				break
			}
			if u != "MB" {
				v /= 1000
			}
		}
		if unit == "Bps" {
			suffix += "/s"
		}
	case strings.HasPrefix(unit, "suffix:"):
		suffix = strings.TrimPrefix(unit, "suffix:")
	}
	if v >= 1000 {
		return fmt.Sprintf("%.0f%s", v, suffix)
	}
	return fmt.Sprintf("%.3g%s", v, suffix)
}
