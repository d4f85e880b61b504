package remux

import (
	"slices"
	"strings"

	"tonearm/internal/media/mp4"
	"tonearm/internal/media/track"
)

// movie plans a copy of an MP4 or MOV file.
func (w *walker) movie(m *mp4.Movie) (*Plan, error) {
	w.container = "mp4"
	if !m.Found {
		return nil, mp4.NoIndex
	}
	t, err := w.chooseMovie(m)
	if err != nil {
		return nil, err
	}
	if w.lacks(m, t) {
		return nil, ErrTruncated
	}
	if t.Delay > lateSeconds {
		return nil, leave(Late)
	}
	if w.o.Pictures {
		return nil, leave(Pictures)
	}
	if m.Fragmented {
		return w.fragments(m, t)
	}
	made, err := m.Remux(t)
	if err != nil {
		return nil, err
	}
	b := builder{r: w.r}
	b.add(made.Header)
	for _, e := range made.Extents {
		b.copy(e.Offset, e.Size)
	}
	return b.plan(w.container), w.hear(made.Extents, watch{coding: codingOf(t), rates: w.o.Kbps != 0})
}

// codingOf is how the frames of a track are coded.
func codingOf(t *mp4.Track) coding {
	code := t.Codec
	if code == "mp4a" {
		code = objects[t.Object]
	}
	if c, ok := movieCodings[code]; ok {
		return c
	}
	if strings.HasPrefix(code, "ms") { // the two letters behind are a number of WAV's
		return unclear
	}
	return settled
}

// objects are codecs by ISO/IEC 14496-1, table 5, and by mp4ra.org, other than AAC.
var objects = map[byte]string{0x69: ".mp3", 0x6b: ".mp3", 0xa5: "ac-3", 0xa6: "ec-3"}

// movieCodings are those of sample descriptions that are not settled.
var movieCodings = map[string]coding{
	"ac-3": ac3, "sac3": ac3, "ec-3": eac3, "mlpa": unclear, ".mp1": mpegSound, ".mp2": mpegSound, ".mp3": mpegSound, "mp3 ": mpegSound, "ms\x00\x55": mpegSound,
}

// hear follows the sound of a track.
func (w *walker) hear(where []mp4.Extent, what watch) error {
	sound := elementary{watch: what}
	buf := make([]byte, 64<<10)
	for _, e := range where {
		for e.Size > 0 && !sound.done() {
			b := buf[:min(int64(len(buf)), e.Size)]
			if n, err := w.r.ReadAt(b, e.Offset); n < len(b) {
				return err
			}
			if err := sound.write(b); err != nil {
				return err
			}
			e.Offset, e.Size = e.Offset+int64(len(b)), e.Size-int64(len(b))
		}
	}
	return sound.end()
}

// fragments plans a copy of a fragmented file.
func (w *walker) fragments(m *mp4.Movie, t *mp4.Track) (*Plan, error) {
	if codingOf(t) != settled {
		return nil, leave(VaryingSound)
	}
	runs, err := m.RemuxFragments(t)
	if err != nil {
		return nil, err
	}
	b := builder{r: w.r}
	for _, run := range runs {
		if run.Own != nil {
			b.add(run.Own)
		} else {
			b.copy(run.Offset, run.Size)
		}
	}
	p := b.plan(w.container)
	is, err := mp4.Read(p, p.Size)
	if err != nil {
		return nil, err
	}
	if is.End != p.Size || is.Ended != m.Ended || is.Fragmented != m.Fragmented || is.Timescale != m.Timescale || len(is.Tracks) != len(m.Tracks) {
		return nil, leave(Unclear)
	}
	for i, was := range m.Tracks {
		if !is.Tracks[i].Alike(was) || was == t && is.Tracks[i].Seconds != was.Seconds {
			return nil, leave(Unclear)
		}
	}
	return p, nil
}

// chooseMovie chooses the track that the converter will choose. If it may see other
// tracks, or choose another, the error is a leave.
func (w *walker) chooseMovie(m *mp4.Movie) (*mp4.Track, error) {
	audio := m.AudioTracks()
	if len(audio) == 0 {
		return nil, leave(UnclearTrack)
	}
	for _, t := range m.Tracks {
		if !obvious(t) {
			return nil, leave(UnclearTrack)
		}
	}
	list := make([]track.Track, len(audio))
	for i, t := range audio {
		list[i] = track.Track{Language: t.Language, Default: t.Enabled, Unfit: t.Encrypted || slices.Contains(undecodable, t.Codec)}
	}
	i := track.Choose(list, w.o.Track)
	if i < 0 { // the copy will be refused as the file would be
		return audio[0], nil
	}
	if len(audio) > 1 && w.o.Track == "" && !audio[i].Decodable() {
		return nil, leave(UnclearTrack)
	}
	return audio[i], nil
}

// undecodable are descriptions of audio that no ffmpeg decodes: Apple's spatial audio,
// AC-4, and MPEG-H.
var undecodable = []string{"apac", "ac-4", "mha1", "mha2", "mhm1", "mhm2"}

// audible are descriptions of audio in lower case. ffmpeg takes a track of any handler
// but that of pictures for audio if it has one of them.
var audible = strings.Fields(`mp4a ac-3 sac3 ac-4 ima4 alac samr sawb sawp dtsc dtsh dtsl dtse dts+ dts- dtsx dts ec-3 vdva dvca agsm ilbc mac3 mac6
.mp1 .mp2 .mp3 mp3 nmos nell alaw ulaw fl32 fl64 twos sowt lpcm in24 in32 ipcm fpcm raw none qclp qclq sqcp qdm2 qdmc spex spxn sevc ssmv
flac mlpa opus mha1 mha2 mhm1 mhm2 apac iamf enca drms aavd owma wma2`)

// obvious reports whether a track surely is one audio track, or surely is none.
func obvious(t *mp4.Track) bool {
	switch t.Handler {
	case "soun":
		return t.Codec != "iamf" // which holds several
	case "vide":
		return true
	}
	code := strings.ToLower(t.Codec)
	if strings.HasPrefix(code, "ms") || strings.HasPrefix(code, "ts") { // the two letters behind are a number of WAV's
		return false
	}
	return t.Descriptions == 0 || t.Descriptions == 1 && !slices.Contains(audible, strings.TrimRight(code, " "))
}

// lacks reports whether the converter will surely refuse the movie because samples of
// the track lie behind the end of the file.
func (w *walker) lacks(m *mp4.Movie, t *mp4.Track) bool {
	const enough = 1.0 // seconds; a little less at the end is accepted
	if m.End <= m.Size || m.Fragmented || !t.Decodable() || len(t.Edits) > 1 && t.Skip < 0 {
		return false
	}
	at, ok := m.Reaches(t)
	if !ok {
		return false
	}
	end := t.Delay + t.Seconds
	if w.o.End > 0 {
		end = min(end, w.o.End)
	}
	return at > w.o.Start+enough && at < end-enough
}
