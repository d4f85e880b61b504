package main

import (
	"context"
	"fmt"
	"path/filepath"

	"tonearm/bench/results"
	"tonearm/internal/conversion"
)

// video is an input of one kind.
type video struct {
	name    string
	seconds int // shorter for more bits a second, so that no video takes too long
	make    func(ctx context.Context, l *lab, seconds int) (string, error)
}

// videos are those of the MP4s with 2, 20 and 50 Mbit/s.
func videos() []video {
	var all []video
	for _, v := range []struct{ mbit, seconds int }{{2, 300}, {20, 120}, {50, 105}} {
		for _, layout := range []string{"cam", "default"} {
			all = append(all, video{fmt.Sprintf("%dm_%s", v.mbit, layout), v.seconds,
				func(ctx context.Context, l *lab, seconds int) (string, error) {
					return l.inputs.MP4(ctx, seconds, v.mbit, layout == "cam")
				}})
		}
	}
	return all
}

// others are videos in containers that keep no index of their audio.
func others() []video {
	return []video{
		{"8m_webm", 120, func(ctx context.Context, l *lab, seconds int) (string, error) { return l.inputs.WebM(ctx, seconds, 8) }},
		{"20m_ts", 120, func(ctx context.Context, l *lab, seconds int) (string, error) { return l.inputs.TS(ctx, seconds, 20) }},
	}
}

// sources lists the measurements from the store to the MP3.
func sources() []measurement {
	var all []measurement
	for _, name := range []string{"loopback", "1g", "200m"} {
		if _, ok := links[name]; ok {
			all = append(all, measurement{name: "bench.link_" + name, take: func(ctx context.Context, l *lab) (results.Figure, error) { return l.check(ctx, name) }})
		}
		chosen := videos()
		if name == "1g" {
			chosen = append(chosen, others()...)
		}
		for _, v := range chosen {
			all = append(all, measurement{name: "source." + name + "_" + v.name, take: func(ctx context.Context, l *lab) (results.Figure, error) {
				return l.race(ctx, name, v)
			}})
		}
	}
	return all
}

// check measures the real speed of a link with a download of two seconds.
func (l *lab) check(ctx context.Context, name string) (results.Figure, error) {
	where, o, err := l.stored(ctx, name, videos()[2])
	if err != nil {
		return results.Figure{}, err
	}
	bytes := min(o.size, int64(links[name].profile.Rate/8*2))
	speed, err := where.speed(ctx, o.url, bytes)
	if err != nil {
		return results.Figure{}, err
	}
	f := results.Plain(speed, "Mbit/s")
	if nominal := links[name].profile.Rate / 1e6; speed < 0.9*nominal {
		fmt.Printf("  one download reaches %.0f of %.0f Mbit/s: this machine is too slow or too busy for the link\n", speed, nominal)
	}
	return f, nil
}

// stored returns a place and a video in the store, with its URL as seen from
// that place.
func (l *lab) stored(ctx context.Context, name string, v video) (*place, source, error) {
	where, err := l.place(name)
	if err != nil {
		return nil, source{}, err
	}
	path, err := v.make(ctx, l, l.seconds(v.seconds))
	if err != nil {
		return nil, source{}, err
	}
	minio, err := l.store(ctx)
	if err != nil {
		return nil, source{}, err
	}
	o, err := minio.put(ctx, path)
	if err != nil {
		return nil, source{}, err
	}
	url, err := minio.url(ctx, where.host, o)
	return where, source{url, o.etag, o.size, path}, err
}

// race measures the way from a presigned URL to an MP3, and compares it with the
// better one of two ways that need no Tonearm.
func (l *lab) race(ctx context.Context, name string, v video) (results.Figure, error) {
	where, s, err := l.stored(ctx, name, v)
	if err != nil {
		return results.Figure{}, err
	}
	mp3 := filepath.Join(l.scratch, "out.mp3")
	checked := func(run func(context.Context) (float64, error)) func(context.Context) (float64, error) {
		return func(ctx context.Context) (float64, error) {
			seconds, err := run(ctx)
			if err != nil {
				return 0, err
			}
			return seconds, whole(ctx, mp3, float64(l.seconds(v.seconds)))
		}
	}
	var read conversion.Source
	rounds, downloads := l.rounds, 0
	if rate := links[name].profile.Rate; rate > 0 && float64(s.size)*8/rate > 10 { // the link decides, and it is steady
		rounds, downloads = min(rounds, 2), 1
	}
	const tonearm, direct, download = "transcoder", "ffmpeg -i URL", "curl, then ffmpeg"
	taken, err := alternate(ctx, rounds,
		contender{name: tonearm, run: checked(func(ctx context.Context) (float64, error) {
			var u used
			var err error
			u, read, err = transcode(ctx, where.client, l.scratch, s, mp3, nil, nil)
			return u.wall, err
		})},
		contender{name: direct, run: checked(func(ctx context.Context) (float64, error) {
			return ffmpeg(ctx, where.client, s.url, mp3)
		})},
		contender{name: download, rounds: downloads, run: checked(func(ctx context.Context) (float64, error) {
			return curlThenFFmpeg(ctx, where.client, s.url, filepath.Join(l.scratch, "downloaded"), mp3)
		})},
	)
	if err != nil {
		return results.Figure{}, err
	}
	f := compare(taken, tonearm, quicker(taken, direct, download), "s")
	if err := l.floor(ctx, &f, name, s.path); err != nil {
		return results.Figure{}, err
	}
	for name, who := range map[string]string{"ffmpeg_url": direct, "curl_then_ffmpeg": download} {
		f.More[name] = results.Plain(taken[who].median(), "s").Ours
		f.Spread[name] = taken[who].spread()
	}
	f.Note = fmt.Sprintf("%s (%s), %d requests, %.1f MB", read.Read, read.ReadReason, read.Requests, float64(read.ReadBytes)/1e6)
	return f, nil
}
