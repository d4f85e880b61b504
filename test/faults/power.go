package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"tonearm/test/server"
)

// disk is an ext4 file system in a file, mounted on a folder.
type disk struct {
	image, dir string
}

const diskSize = 1 << 30 // its file has holes

func needsDisk() string {
	if reason := needsRoot(); reason != "" {
		return reason
	}
	for _, name := range []string{"mkfs.ext4", "losetup"} {
		if _, err := exec.LookPath(name); err != nil {
			return "needs " + name
		}
	}
	return ""
}

func makeDisk(ctx context.Context, image, dir string) (*disk, error) {
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(image, diskSize); err != nil {
		return nil, err
	}
	if err := command(ctx, "mkfs.ext4", "-q", "-F", image); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	d := &disk{image, dir}
	return d, d.mount(ctx)
}

func (d *disk) mount(ctx context.Context) error {
	return command(ctx, "mount", "-o", "loop", "-t", "ext4", d.image, d.dir)
}

// unplugged copies the file: that is what a disk has when its power fails, since
// what the kernel has not written to it yet is not in the file.
func (d *disk) unplugged(ctx context.Context, to string) (*disk, error) {
	for range 50 {
		before, err := os.Stat(d.image)
		if err != nil {
			return nil, err
		}
		if err := command(ctx, "cp", "--sparse=always", d.image, to); err != nil {
			return nil, err
		}
		after, err := os.Stat(d.image)
		if err != nil {
			return nil, err
		}
		if after.ModTime().Equal(before.ModTime()) { // else the kernel wrote meanwhile, and the copy is of no one moment
			return &disk{to, d.dir}, nil
		}
	}
	return nil, fmt.Errorf("%s was written to all the time", d.image)
}

// powerCut cuts the power of a machine with `tonearm up` while clients upload,
// and starts it on what its disk has then.
func powerCut(ctx context.Context, c cell, p *programs, tones map[string]*tone, logs string) (v verdict, err error) {
	s := &site{Scratch: server.Scratch{Host: server.Loopback}}
	if err := s.Open(); err != nil {
		return v, err
	}
	defer s.Close()
	defer func() { err = errors.Join(err, keepLogs(s.Dir(), logs, c)) }()
	d, err := makeDisk(ctx, filepath.Join(s.Dir(), "disk"), filepath.Join(s.Dir(), "mnt"))
	if err != nil {
		return v, err
	}
	defer func() { _ = unmount(context.WithoutCancel(ctx), d.dir) }()
	data := filepath.Join(d.dir, "data")
	if err := s.startUp(ctx, p, data); err != nil {
		return v, err
	}
	defer func() { s.kill() }()
	token, err := newUser(ctx, s.url, "owner@example.org")
	if err != nil {
		return v, err
	}
	if s.client, err = userOf(s.url, token); err != nil {
		return v, err
	}
	if c.seed%2 == 1 { // the machine has been up for a while: what the first start wrote is on the disk
		if err := command(ctx, "sync", "-f", d.dir); err != nil {
			return v, err
		}
	}
	rnd := rand.New(rand.NewPCG(c.seed, 5))
	uploads := s.untilCut(ctx, tones, 1500*time.Millisecond+time.Duration(rnd.IntN(5000))*time.Millisecond)
	copied, err := d.unplugged(ctx, filepath.Join(s.Dir(), "copy"))
	if err != nil {
		return v, err
	}
	s.kill()
	if err := unmount(ctx, d.dir); err != nil {
		return v, err
	}
	d = copied
	if err := d.mount(ctx); err != nil { // replays the journal
		return v, err
	}
	if err := s.startUp(ctx, p, data); err != nil {
		return verdict{Red: []string{"start: tonearm up does not start after the power cut: " + tail(err.Error())}}, nil
	}
	if s.client, err = userOf(s.url, token); err != nil {
		return v, err
	}
	return s.judged(ctx, uploads, time.Now(), c.tune)
}

// untilCut uploads files, three at a time, until the power is cut.
func (s *site) untilCut(ctx context.Context, tones map[string]*tone, after time.Duration) []*upload {
	ctx, cancel := context.WithCancel(ctx)
	var (
		mu      sync.Mutex
		uploads []*upload
		work    sync.WaitGroup
	)
	for range uploaders {
		work.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				u := &upload{tone: tones[mix[len(uploads)%len(mix)]], key: fmt.Sprintf("file-%d", len(uploads)), client: s.client}
				uploads = append(uploads, u)
				mu.Unlock()
				u.send(ctx)
			}
		})
	}
	pause(ctx, after)
	s.freeze()
	cancel()
	work.Wait()
	return uploads
}

// tail is the end of a text.
func tail(s string) string {
	const most = 300
	return strings.TrimSpace(s[max(0, len(s)-most):])
}
