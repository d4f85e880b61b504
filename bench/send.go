package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"tonearm/bench/results"
	"tonearm/bench/stack"
)

// sends lists the measurements from a file behind a slow uplink to its MP3. They take
// ten minutes, most of them to send a whole video once.
func sends() []measurement {
	var all []measurement
	for _, name := range []string{"20m", "100m"} {
		all = append(all, measurement{
			name: "send." + name + "_uplink_20m_video", asked: true,
			take: func(ctx context.Context, l *lab) (results.Figure, error) { return l.send(ctx, name) },
		})
	}
	return all
}

// send measures from the start of `tonearm convert` to the MP3 on the disk, where only
// the sound is sent and where all of the video is. `tonearm up` runs at the other end of
// the link.
func (l *lab) send(ctx context.Context, name string) (_ results.Figure, err error) {
	const seconds, mbit = 300, 20
	video, err := l.inputs.MP4(ctx, l.seconds(seconds), mbit, true)
	if err != nil {
		return results.Figure{}, err
	}
	where, err := l.place(name)
	if err != nil {
		return results.Figure{}, err
	}
	data := filepath.Join(l.scratch, "send-"+name)
	up, err := stack.StartIn(ctx, l.network, data, "--listen", net.JoinHostPort(where.host, "8080"), "--s3-listen", net.JoinHostPort(where.host, "9000"))
	if err != nil {
		return results.Figure{}, err
	}
	defer func() {
		up.Stop()
		err = errors.Join(err, os.RemoveAll(data))
	}()
	token, err := up.Account(ctx, "send@example.org")
	if err != nil {
		return results.Figure{}, err
	}
	mp3 := filepath.Join(l.scratch, "out.mp3")
	words := []string{
		"HOME=" + l.scratch, "XDG_STATE_HOME=", "XDG_CONFIG_HOME=", "TONEARM_SERVER=" + up.Server, "TONEARM_TOKEN=" + token,
		"bin/tonearm", "convert", video, "--out", mp3,
	}
	sums := map[string]bool{}
	convert := func(name string, rounds int, args ...string) contender {
		return contender{name: name, rounds: rounds, run: func(ctx context.Context) (float64, error) {
			taken, err := timed(ctx, where.client, "env", append(append(words, "--force", "--quiet"), args...)...)
			if err != nil {
				return 0, err
			}
			sum, err := sumOf(mp3)
			if err != nil {
				return 0, err
			}
			if sums[sum] = true; len(sums) > 1 {
				return 0, errors.New("the MP3s differ")
			}
			return taken, whole(ctx, mp3, float64(l.seconds(seconds)))
		}}
	}
	const sound, all, local = "only the sound", "all of it", "ffmpeg on the file"
	taken, err := alternate(ctx, l.rounds, convert(sound, 0), convert(all, 1, "--send", "whole"),
		contender{name: local, run: func(ctx context.Context) (float64, error) {
			taken, err := ffmpeg(ctx, nil, video, mp3)
			if err != nil {
				return 0, err
			}
			return taken, whole(ctx, mp3, float64(l.seconds(seconds)))
		}})
	if err != nil {
		return results.Figure{}, err
	}
	f := compare(taken, sound, all, "s")
	f.Spread["ffmpeg_local"] = taken[local].spread()
	sent, size, err := l.planned(ctx, words)
	f.More = map[string]float64{
		"ffmpeg_local": results.Plain(taken[local].median(), "s").Ours,
		"sent_mb":      results.Plain(float64(sent)/1e6, "MB").Ours, "whole_mb": results.Plain(float64(size)/1e6, "MB").Ours,
	}
	return f, err
}

// planned returns what the command line sends of a video, and how large that is.
func (l *lab) planned(ctx context.Context, words []string) (sent, whole int64, err error) {
	out, err := exec.CommandContext(ctx, "env", append(words, "--force", "--dry-run", "--json")...).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("tonearm convert --dry-run: %w", err)
	}
	var plan struct {
		Bytes int64
		Sent  struct {
			OriginalSize int64 `json:"original_size"`
		}
	}
	err = json.Unmarshal(out, &plan)
	return plan.Bytes, plan.Sent.OriginalSize, err
}

// sumOf returns the SHA-256 of a file.
func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return string(h.Sum(nil)), err
}
