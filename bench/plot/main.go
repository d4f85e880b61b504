// Command plot draws what a dispatcher's gauges showed during a burst, from the
// table that bench/cluster writes:
//
//	cd bench/plot && go run . ../scaling.csv ../../docs/scaling.png
//
// It is a module of its own, so that Tonearm does not depend on the library
// that draws.
package main

import (
	"encoding/csv"
	"fmt"
	"image"
	"image/color"
	"image/color/palette"
	stddraw "image/draw"
	"image/png"
	"os"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	vgdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: plot TABLE.csv PICTURE.png")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

// run draws two diagrams, one above the other: the waiting work and the Jobs.
func run(table, picture string) error {
	columns, err := read(table)
	if err != nil {
		return err
	}
	work, jobs := newPlot("predicted work in the queue, s"), newPlot("Jobs")
	jobs.X.Label.Text = "seconds since the burst began"
	for _, l := range []struct {
		at     *plot.Plot
		column string
		name   string
		color  color.Color
	}{
		{work, "tonearm_queue_work_seconds", "", color.RGBA{0xcc, 0x66, 0, 0xff}},
		{jobs, "tonearm_attempts_limit", "limit", color.RGBA{0x99, 0x99, 0x99, 0xff}},
		{jobs, "tonearm_attempts_allowed", "allowed", color.RGBA{0x33, 0x66, 0xcc, 0xff}},
		{jobs, "tonearm_attempts_running", "running", color.RGBA{0x33, 0x99, 0x33, 0xff}},
	} {
		points := make(plotter.XYs, len(columns["seconds"]))
		for i, x := range columns["seconds"] {
			points[i] = plotter.XY{X: x, Y: columns[l.column][i]}
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return fmt.Errorf("draw %s: %w", l.column, err)
		}
		line.Color, line.Width, line.StepStyle = l.color, 1.5, plotter.PostStep
		l.at.Add(line)
		if l.name != "" {
			l.at.Legend.Add(l.name, line)
		}
	}
	work.Y.Max *= 1.1
	jobs.Y.Max *= 1.5 // room for the legend
	canvas := vgimg.NewWith(vgimg.UseWH(720, 400), vgimg.UseDPI(72))
	rows := plot.Align([][]*plot.Plot{{work}, {jobs}},
		vgdraw.Tiles{Rows: 2, Cols: 1, PadY: 12, PadTop: 8, PadBottom: 8, PadLeft: 8, PadRight: 12}, vgdraw.New(canvas))
	work.Draw(rows[0][0])
	jobs.Draw(rows[1][0])
	return save(picture, canvas.Image())
}

func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.Y.Label.Text = title
	p.X.Min, p.Y.Min = 0, 0
	p.X.Tick.Marker = plot.TickerFunc(func(low, high float64) (ticks []plot.Tick) {
		for x := low; x <= high; x += 60 {
			ticks = append(ticks, plot.Tick{Value: x, Label: strconv.Itoa(int(x))})
		}
		return ticks
	})
	p.Legend.Top = true
	for _, f := range []*font.Font{&p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font, &p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font} {
		f.Size, f.Variant = 11, "Sans"
	}
	p.Add(plotter.NewGrid())
	return p
}

// read returns the table's columns by their names.
func read(path string) (map[string][]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	columns := map[string][]float64{}
	for _, row := range rows[min(1, len(rows)):] {
		for i, cell := range row {
			v, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			columns[rows[0][i]] = append(columns[rows[0][i]], v)
		}
	}
	return columns, nil
}

// save writes a picture with few colours, which makes it small.
func save(path string, from image.Image) error {
	small := image.NewPaletted(from.Bounds(), palette.WebSafe)
	stddraw.Draw(small, small.Bounds(), from, image.Point{}, stddraw.Src)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(f, small); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}
