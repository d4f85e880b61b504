package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tonearm/cmd/internal/command"
	"tonearm/cmd/tonearm/internal/text"
	"tonearm/internal/api"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg"
	"tonearm/internal/media/ffmpeg/cage"
)

const (
	noticedWithin   = 10 * time.Second // where notifications work, it takes less than 1 s
	convertedWithin = 2 * time.Minute  // a cluster may have to start a node first
	clockTolerance  = 30 * time.Second // presigned links allow some minutes
	leastDisk       = 500 << 20        // bytes
)

func newDoctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check everything that a conversion needs, and say what to do", Args: command.NoArgs,
		Long: `Check everything that a conversion needs: the server, your login, the object store
at its public address, what browsers may do there, the store's notifications, a
conversion of one second of sound, clocks and disks. What is wrong comes with what to
do. The conversion is deleted at the end.`,
		Example: "  tonearm doctor",
		RunE:    interruptible(func(cmd *cobra.Command, _ []string) error { return (&doctor{cmd: cmd}).run() }),
	}
	bindServer(cmd.Flags())
	return cmd
}

// doctor checks one thing after the other.
type doctor struct {
	cmd    *cobra.Command
	client *client.Client
	failed bool
}

// good and bad print what was found; do says what to do.
func (d *doctor) good(what, format string, a ...any) {
	fmt.Fprintf(d.cmd.OutOrStdout(), "ok      %-14s %s\n", what, text.Printable(fmt.Sprintf(format, a...)))
}

func (d *doctor) bad(what, do, format string, a ...any) {
	d.failed = true
	fmt.Fprintf(d.cmd.OutOrStdout(), "FAILED  %-14s %s\n        %-14s %s\n", what, text.Printable(fmt.Sprintf(format, a...)), "", text.Printable(do))
}

func (d *doctor) run() error {
	d.machine()
	if d.server() && d.login() {
		d.convert()
	}
	if cause := context.Cause(d.cmd.Context()); cause != nil {
		return cause
	}
	if d.failed {
		return errReported
	}
	return nil
}

// machine checks what this machine has.
func (d *doctor) machine() {
	for _, disk := range [][2]string{{"disk here", "."}, {"temporary disk", os.TempDir()}} {
		what, dir := disk[0], disk[1]
		free, err := freeBytes(dir)
		switch {
		case err != nil:
			d.bad(what, "Check the folder and its file system.", "cannot look at %s: %v", dir, err)
		case free < leastDisk:
			d.bad(what, "Remove something, or use another disk: --out for MP3s, TMPDIR for the rest.", "only %s free in %s", text.Bytes(free), dir)
		default:
			d.good(what, "%s free in %s", text.Bytes(free), dir)
		}
	}
	if path, err := (ffmpeg.Program{Path: os.Getenv("TONEARM_FFMPEG")}).Find(); err == nil {
		d.good("ffmpeg here", "%s (only \"tonearm up\" needs it)", path)
		d.confined(ffmpeg.Program{Path: path})
	} else {
		d.good("ffmpeg here", "none; only \"tonearm up\" needs it")
	}
}

// confined says what confines ffmpeg on this machine.
func (d *doctor) confined(p ffmpeg.Program) {
	const what = "ffmpeg's cage"
	taken, err := p.Confined(d.cmd.Context())
	if err != nil {
		d.bad(what, "Run it yourself, and look at what it says.", "%v", err)
		return
	}
	holds, refused := cage.Said(taken)
	if refused == "" {
		refused = "nothing"
	}
	d.good(what, "%s; this machine refuses: %s", holds, refused)
}

func (d *doctor) server() bool {
	server, _ := d.cmd.Flags().GetString("server")
	if s, err := loadSession(); err == nil && server == "" {
		server = s.Server
	}
	if server == "" {
		d.bad("server", "Run: tonearm login", "no server is known")
		return false
	}
	c, err := newClient(d.cmd, server, "", 0)
	if err != nil {
		d.bad("server", "Write it like https://tonearm.example.org.", "%v", err)
		return false
	}
	began := time.Now()
	at, err := c.Clock(d.cmd.Context())
	if err != nil {
		d.bad("server", "Check the address and that the server runs: --server, or tonearm login.", "%v", err)
		return false
	}
	d.good("server", "%s answers in %d ms", c.Server(), time.Since(began).Milliseconds())
	if off := time.Until(at).Abs(); off > clockTolerance {
		d.bad("clock", "Set both clocks by NTP. Upload links hold only for a time.", "this machine and the server are %s apart", off.Round(time.Second))
	} else {
		d.good("clock", "less than %s from the server's", clockTolerance)
	}
	return true
}

func (d *doctor) login() bool {
	var err error
	if d.client, err = connect(d.cmd, shortPatience); err == nil {
		_, err = d.client.List(d.cmd.Context(), nil, "", 1)
	}
	if client.IsLogin(err) {
		err = expired()
	}
	if err != nil {
		d.bad("login", "Run: tonearm login", "%v", err)
		return false
	}
	d.good("login", "the server knows you")
	return true
}

// convert sends a second of sound all the way.
func (d *doctor) convert() {
	ctx := d.cmd.Context()
	sound := tone()
	cv, err := d.client.Create(ctx, uuid.NewString(), api.NewConversion{Filename: "tonearm doctor.wav", Size: int64(len(sound)), Notify: conversion.NotifyNone})
	if err != nil {
		d.bad("server", "Look at the server's log and its /readyz.", "it begins no conversion: %v", err)
		return
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shortPatience)
		defer cancel()
		_ = d.client.Delete(ctx, cv.ID)
	}()
	if !d.store(ctx, cv, sound) {
		return
	}
	if !d.notified(ctx, &cv) {
		return
	}
	began := time.Now()
	cv, err = d.wait(ctx, cv, convertedWithin, func(cv api.Conversion) bool { return cv.State.Terminal() })
	switch {
	case err != nil:
		d.bad("conversion", "Look at the server's log.", "%v", err)
	case cv.State == conversion.Done:
		d.good("conversion", "one second of sound took %.1f s", time.Since(began).Seconds())
		d.download(ctx, *cv.MP3)
	case cv.Error != nil && cv.State == conversion.Failed:
		d.bad("conversion", "Look at the converter's log: its ffmpeg may be missing or broken.", "%s (%s)", cv.Error.Message, cv.Error.Code)
	case cv.Waiting != nil:
		d.bad("conversion", "Look at the dispatcher's log, and whether there is room for a converter.", "after %s it waits for %s", convertedWithin, waitReason(cv.Waiting.Reason))
	default:
		d.bad("conversion", "Look at the dispatcher's log: does it run, and does it reach the queue?", "after %s it is still %s", convertedWithin, cv.State)
	}
}

// store uploads to the address in the presigned URL, which is the public one.
func (d *doctor) store(ctx context.Context, cv api.Conversion, sound []byte) bool {
	host := "the address that the server gives"
	if cv.Upload != nil {
		if u, err := url.Parse(cv.Upload.URL); err == nil {
			host = u.Scheme + "://" + u.Host
		}
	}
	if err := d.client.Put(ctx, cv, bytes.NewReader(sound)); err != nil {
		do := "It has to be reached from here: set --s3-public-endpoint of the gateway, and its firewall."
		var answer *client.StoreError
		if errors.As(err, &answer) {
			do = "Check the store's keys and bucket at the gateway, and the clocks of gateway and store."
		}
		d.bad("store", do, "upload to %s: %v", host, err)
		return false
	}
	d.good("store", "took an upload at %s", host)
	d.browsers(ctx, cv.Upload.URL)
	return true
}

// nowhere is an origin that no server has (RFC 2606).
const nowhere = "https://doctor.invalid"

// browsers asks the store which pages may upload: those of the server shall, and no
// page of just anybody.
func (d *doctor) browsers(ctx context.Context, presigned string) {
	origin, err := d.client.Origin(ctx)
	if err != nil {
		d.bad("browsers", "Look at the server's log.", "the server's own address is not known: %v", err)
		return
	}
	if err := d.client.AllowsOrigin(ctx, presigned, origin); err != nil {
		d.bad("browsers", "Set --public-url and --cors-origins of the dispatcher like those of the gateway, and MINIO_API_CORS_ALLOW_ORIGIN of MinIO.", "pages of %s may not upload: %v", origin, err)
		return
	}
	if d.client.AllowsOrigin(ctx, presigned, nowhere) == nil {
		d.good("browsers", "pages of %s may upload (CORS), and those of everybody else; MINIO_API_CORS_ALLOW_ORIGIN or the bucket's CORS rules can name the right ones", origin)
		return
	}
	d.good("browsers", "pages of %s may upload (CORS), and not those of just anybody", origin)
}

// notified waits until the store has told the dispatcher of the upload. If it does
// not, the upload is completed by hand.
func (d *doctor) notified(ctx context.Context, cv *api.Conversion) bool {
	began := time.Now()
	now, err := d.wait(ctx, *cv, noticedWithin, func(cv api.Conversion) bool { return cv.State != conversion.AwaitingUpload })
	if err == nil && now.State == conversion.AwaitingUpload {
		d.bad("notifications", "Look at the store's notification settings and the dispatcher's log. Until then uploads are noticed after half a minute.",
			"the store told nobody of the upload within %s", noticedWithin)
		now, err = d.client.Complete(ctx, cv.ID)
	} else if err == nil {
		d.good("notifications", "the upload was noticed in %.1f s", time.Since(began).Seconds())
	}
	if err != nil {
		d.bad("notifications", "Look at the server's log.", "%v", err)
		return false
	}
	*cv = now
	return true
}

func (d *doctor) wait(ctx context.Context, cv api.Conversion, limit time.Duration, enough func(api.Conversion) bool) (api.Conversion, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !enough(cv) {
		next, err := d.client.Wait(limited, cv.ID, cv.Revision)
		if limited.Err() != nil && ctx.Err() == nil {
			return d.client.Conversion(ctx, cv.ID)
		}
		if err != nil {
			return cv, err
		}
		cv = next
	}
	return cv, nil
}

func (d *doctor) download(ctx context.Context, m api.MP3) {
	f, err := os.CreateTemp("", "tonearm-doctor-*")
	if err == nil {
		defer func() { _ = os.Remove(f.Name()) }()
		defer f.Close()
		err = d.client.Download(ctx, m, f, func(int64) {})
	}
	if err != nil {
		d.bad("download", "The store has to be reached from here: set --s3-public-endpoint of the gateway.", "%v", err)
		return
	}
	d.good("download", "%s, and its checksum is right", text.Bytes(m.Size))
}

// tone is a WAV file with a second of 440 Hz (RIFF, "Multimedia Programming
// Interface and Data Specifications 1.0").
func tone() []byte {
	const rate = 8000
	var pcm []byte
	for i := range rate {
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(int16(8000*math.Sin(2*math.Pi*440*float64(i)/rate))))
	}
	b := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(36+len(pcm)))
	b = append(b, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"...)
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = binary.LittleEndian.AppendUint32(b, 2*rate)
	b = append(b, "\x02\x00\x10\x00data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(pcm)))
	return append(b, pcm...)
}
