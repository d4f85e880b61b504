package transcoder

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"tonearm/internal/media/mp4"
	"tonearm/internal/source"
)

// Names of files with pictures in the working directory.
const (
	partsName = "pictures"
	wholeName = "pictures.whole"
)

// shortVideo is the length in seconds up to which pictures are not fetched in
// parts: the part that a poster is chosen from would be half of them.
const shortVideo = 40

// pictures are what covers are made of where only the audio of the object is
// fetched. They are a cover.Pictures.
type pictures struct {
	w     *worker
	from  *source.Object
	movie *mp4.Movie
	file  *os.File // with holes; nil until Heads
	parts *source.Parts
}

// pay reports whether it is worth fetching only parts of the pictures.
func pay(movie *mp4.Movie) bool {
	seconds := 0.0
	for _, t := range movie.Tracks {
		if t.Handler == "vide" {
			seconds = max(seconds, t.Seconds)
		}
	}
	return seconds == 0 || seconds > shortVideo
}

// Heads implements cover.Pictures.
func (p *pictures) Heads(ctx context.Context) (string, error) {
	heads, err := p.movie.Heads()
	if err != nil {
		return "", err
	}
	if p.file, err = os.OpenFile(filepath.Join(p.w.dir, partsName), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return "", diskError(err)
	}
	defer p.w.alive.wait()()
	if p.parts, err = p.from.Parts(ctx, p.file); err != nil {
		return "", partsError(err)
	}
	return p.file.Name(), p.fetch(ctx, heads)
}

// Show implements cover.Pictures.
func (p *pictures) Show(ctx context.Context, track uint32, w mp4.Window) error {
	t := p.movie.Track(track)
	if t == nil {
		return mp4.Malformed
	}
	shown, err := p.movie.Shown(t, w)
	if err != nil {
		return err
	}
	for _, patch := range shown.End {
		if _, err := p.file.WriteAt(patch.Bytes, patch.Offset); err != nil {
			return diskError(err)
		}
	}
	return p.fetch(ctx, shown.Extents)
}

// fetch reads extents of the object to their offsets in the file, if there is
// room for them.
func (p *pictures) fetch(ctx context.Context, extents []mp4.Extent) error {
	var size int64
	for _, e := range extents {
		size += e.Size
	}
	if err := p.w.checkDiskSpace(size); err != nil {
		return err
	}
	defer p.w.alive.wait()()
	return partsError(p.parts.Fetch(ctx, extents))
}

func partsError(err error) error {
	var disk *os.PathError
	if errors.As(err, &disk) {
		return diskError(err)
	}
	return sourceError(err)
}

// Whole implements cover.Pictures.
func (p *pictures) Whole(ctx context.Context) (string, error) {
	p.w.log.Info("parts of the pictures were not enough, reading the whole video")
	stream := p.from.Whole(ctx)
	defer stream.Close()
	if err := p.w.checkDiskSpace(stream.Size); err != nil {
		return "", err
	}
	s, err := newSpool(filepath.Join(p.w.dir, wholeName), stream.Size, false)
	if err != nil {
		return "", err
	}
	defer s.Close()
	defer p.w.alive.wait()()
	return s.Path(), s.fill(failing{stream})
}

// close must be called when nobody uses them any more.
func (p *pictures) close() {
	if p.file != nil {
		p.file.Close()
	}
}
