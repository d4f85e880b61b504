package encode

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/probe"
)

// packets is a summary of the packets of one stream.
type packets struct {
	audio      bool
	tick       float64         // seconds
	count      float64         // packets that count, including parts of packets
	any        bool            // packet was seen
	first      float64         // seconds on a player's clock where the first begins
	last       float64         // and where the last ends
	start, end float64         // the same of those that count
	seconds    float64         // of those that count
	durations  map[int64]int64 // how often each occurs, in ticks; the first few
}

// usual is the most frequent duration of a packet, in seconds.
func (p *packets) usual() float64 {
	var best, times int64
	for d, n := range p.durations {
		if n > times || n == times && d > best {
			best, times = d, n
		}
	}
	return float64(best) * p.tick
}

// demuxed is what ffmpeg finds in a source without decoding it.
type demuxed struct {
	clock     float64 // seconds on ffmpeg's clock where a player's begins
	from, to  float64 // seconds on a player's clock; only packets between them count. to is 0 for no limits
	streams   []*packets
	index     int     // of the chosen track among the audio tracks
	end       float64 // of the stream that ends last
	audioOnly bool    // only the audio was read, although there are other streams

	// each is called with the beginning of every packet that is played, in seconds
	// on a player's clock; may be nil.
	each func(start float64)
}

// track returns the packets of the chosen track.
func (d *demuxed) track() *packets {
	n := 0
	for _, p := range d.streams {
		if p.audio {
			if n == d.index {
				return p
			}
			n++
		}
	}
	return &packets{}
}

// Codecs of a run whose packets are listed.
var (
	copied  = []string{"-c", "copy"}
	decoded = []string{"-c:a", "pcm_f32le"} // a packet for each one that can be decoded
)

// demux lists the packets of the chosen track, and of all others where only the
// container promises a length. ffmpeg refuses video whose size is known to the
// decoder alone.
func (j *job) demux(ctx context.Context) (*demuxed, error) {
	only := []string{"-map", j.plan.Stream()}
	d := &demuxed{clock: j.plan.Clock, from: j.plan.Start, to: j.plan.Until()}
	if j.plan.Track.Pieces != nil { // of all that they are taken from
		d = &demuxed{}
	}
	if j.plan.Track.Own || j.info.Whole {
		_, err := j.readPackets(ctx, d, copied, only)
		return d, err
	}
	d.index = j.plan.Index
	if done, err := j.readPackets(ctx, d, copied, []string{"-map", "0:V?", "-map", "0:a"}); err != nil || done {
		return d, err
	}
	d = &demuxed{clock: j.plan.Clock, from: j.plan.Start, to: j.plan.Until(), audioOnly: j.info.Streams > 1}
	_, err := j.readPackets(ctx, d, copied, only)
	return d, err
}

// decode decodes the track once more. It returns what can be decoded of the packets
// in d: each of them gives one of its own.
func (j *job) decode(ctx context.Context, d *demuxed) (*packets, error) {
	heard := &demuxed{clock: d.clock, from: d.from, to: d.to}
	_, err := j.readPackets(ctx, heard, decoded, []string{"-map", j.plan.Stream()})
	return heard.track(), err
}

// without returns how many seconds of a track's packets gave no audio, and how many
// a packet has.
func (heard *packets) without(track *packets) (lost, usual float64) {
	if usual = heard.usual(); usual == 0 {
		usual = track.usual()
	}
	return math.Max(0, track.count-heard.count) * usual, usual
}

// readPackets reports whether ffmpeg could read the streams.
func (j *job) readPackets(ctx context.Context, d *demuxed, codec, streams []string) (bool, error) {
	pr, pw := io.Pipe()
	read := make(chan error, 1)
	go func() {
		err := d.read(pr)
		pr.CloseWithError(err) // ends ffmpeg
		read <- err
	}()
	args := slices.Concat(streams, codec, []string{"-f", "framecrc", "pipe:1"})
	o, err := j.in.Run(ctx, ffmpeg.Command{
		Before:  j.inPieces(),
		Args:    args,
		Stdout:  pw,
		Timeout: 10*time.Minute + time.Duration(j.info.Size/(10<<20))*time.Second,
	})
	pw.Close()
	if readErr := <-read; err == nil {
		err = readErr
	}
	if err == nil {
		err = o.Failure()
	}
	return o.Err == nil, err
}

// read reads ffmpeg's framecrc format: "#tb 0: 1/48000", "#media_type 0: audio",
// then a line for each packet: stream, dts, pts, duration, size, checksum.
func (d *demuxed) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if head, ok := strings.CutPrefix(line, "#"); ok {
			d.describe(head)
			continue
		}
		f := strings.SplitN(line, ",", 6)
		if len(f) < 6 {
			continue
		}
		var n [5]int64
		for i := range n {
			n[i], _ = strconv.ParseInt(strings.TrimSpace(f[i]), 10, 64)
		}
		if n[0] < 0 || n[0] >= int64(len(d.streams)) || n[4] == 0 { // or nothing is in it
			continue
		}
		p := d.streams[n[0]]
		if n[2] == math.MinInt64 { // none
			n[2] = n[1]
		}
		start := float64(n[2])*p.tick - d.clock
		d.add(p, start, n[3])
		if d.each != nil && !discarded(f[4]) {
			d.each(start)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read packets: %w", err)
	}
	return nil
}

// discarded reports whether the rest of a line says that a decoder drops what
// becomes of the packet: flags follow the checksum, if they are unusual.
func discarded(rest string) bool {
	const discard = 4 // AV_PKT_FLAG_DISCARD
	_, flags, ok := strings.Cut(rest, "F=0x")
	if !ok {
		return false
	}
	flags, _, _ = strings.Cut(flags, ",")
	n, err := strconv.ParseUint(flags, 16, 32)
	return err == nil && n&discard != 0
}

func (d *demuxed) describe(head string) {
	key, value, _ := strings.Cut(head, ": ")
	name, number, _ := strings.Cut(key, " ")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= probe.MaxTracks {
		return
	}
	for len(d.streams) <= i {
		d.streams = append(d.streams, &packets{durations: map[int64]int64{}})
	}
	switch name {
	case "tb":
		num, den, _ := strings.Cut(value, "/")
		a, _ := strconv.ParseFloat(num, 64)
		b, _ := strconv.ParseFloat(den, 64)
		if b > 0 {
			d.streams[i].tick = a / b
		}
	case "media_type":
		d.streams[i].audio = value == "audio"
	}
}

// add counts a packet that begins at some second on a player's clock; duration
// is in ticks.
func (d *demuxed) add(p *packets, start float64, duration int64) {
	seconds := float64(duration) * p.tick
	end := start + seconds
	if !p.any || start < p.first {
		p.first = start
	}
	p.last = math.Max(p.last, end)
	p.any = true
	d.end = math.Max(d.end, p.last)
	if _, ok := p.durations[duration]; ok || len(p.durations) < 64 {
		p.durations[duration]++
	}
	part := 1.0
	if d.to > 0 {
		whole := end - start
		start, end = math.Max(start, d.from), math.Min(end, d.to)
		if end < start || end == start && whole > 0 {
			return
		}
		if whole > 0 {
			part = (end - start) / whole
		}
	}
	if p.count == 0 || start < p.start {
		p.start = start
	}
	p.end = math.Max(p.end, end)
	p.count += part
	p.seconds += seconds * part
}
