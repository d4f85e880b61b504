package mediatest

import (
	"encoding/binary"
	"fmt"
	"testing"

	"tonearm/internal/conversion"
)

// otherChapters are chapters that are listed in an unusual way.
func otherChapters() []Case {
	const untitled = "ch1" // an MP3's second chapter: ffprobe gives the id for the title
	const addendum = "ID3v2 Chapter Frame Addendum 1.0"
	chap := func(id string, from, to uint32, title string) []byte {
		times := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(append([]byte(id), 0), from), to)
		times = append(times, "\xff\xff\xff\xff\xff\xff\xff\xff"...)
		if title == "" {
			return id3Frame("CHAP", times)
		}
		return id3Frame("CHAP", times, id3Frame("TIT2", []byte{0}, []byte(title)))
	}
	many := manyChapters("too-many-chapters.mkv", 10_050)
	list := make([]Chapter, 10_050)
	for i := range list {
		list[i] = Chapter{float64(i) / 500, fmt.Sprintf("Chapter %d", i+1)}
	}
	many.Make = func(t testing.TB, path string, _ *Want) {
		encode(t, path, both(tone(20.2, 440, 16000), []string{"-i", chapters(t, "", 20.2, list...)}), "-map 0 -map_metadata 1 -c:a aac -b:a 24k")
	}
	many.Want = within(withChapters(Steady(20.2, 440), list[:10_000]...), 0.1)
	many.Also = 0
	many.Want.Notes = []conversion.NoteCode{conversion.NoteChaptersLeftOut}
	return []Case{
		many,
		{
			Name: "chap-unordered.mp3", About: "CHAP frames out of order, one without a title (players show its id), one of no length, one behind the end of the sound",
			From: []string{addendum + ": the order of the frames says nothing"},
			Make: func(t testing.TB, path string, _ *Want) {
				sound := raw(t, "mp3", tone(9, 440, 44100), "-bitexact -id3v2_version 0 -c:a libmp3lame")
				write(t, path, id3Tag(chap("c", 6000, 9000, "C"), chap("e", 12000, 15000, "beyond"), chap("a", 0, 3000, "A"), chap("d", 8000, 8000, "D"), chap("b", 3000, 6000, "")), sound)
			},
			Want: either(within(withChapters(Steady(9, 440), Chapter{0, "A"}, Chapter{3, "b"}, Chapter{6, "C"}, Chapter{8, "D"}), 0.06)), Also: AlsoChapters,
		},
		{
			Name: "chapters.ogg", About: "Vorbis comments with chapters: out of order, one without a name, one behind the end",
			From: []string{"wiki.xiph.org/Chapter_Extension"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, tone(9, 440, 44100), "-c:a libvorbis -metadata CHAPTER002=00:00:06.000 -metadata CHAPTER002NAME=C -metadata CHAPTER000=00:00:00.000 -metadata CHAPTER000NAME=A -metadata CHAPTER001=00:00:03.000 -metadata CHAPTER003=00:00:20.000 -metadata CHAPTER003NAME=beyond")
			},
			Want: within(withChapters(Steady(9, 440), Chapter{0, "A"}, Chapter{3, untitled}, Chapter{6, "C"}), 0.06), Also: AlsoTrim | AlsoChapters,
		},
		{
			Name: "chpl-and-track.m4b", About: "a list of two chapters and a track of three: the track has more",
			From: []string{quickTime + ": chapter lists", "https://github.com/advplyr/audiobookshelf/issues/3275"},
			Make: func(t testing.TB, path string, _ *Want) {
				encode(t, path, both(tone(9, 440, 44100), []string{"-i", chapters(t, "", 9, Chapter{0, "A"}, Chapter{3, "B"}, Chapter{6, "C"})}), "-map 0 -map_metadata 1 -c:a aac -movflags +disable_chpl -f mp4")
				change(t, path, func(m *movie) {
					list := []byte{1, 0, 0, 0, 0, 0, 0, 0, 2}
					for i, title := range []string{"A", "B"} {
						list = binary.BigEndian.AppendUint64(list, uint64(i)*30_000_000)
						list = append(append(list, byte(len(title))), title...)
					}
					m.moov.kids = append(m.moov.kids, &node{kind: "udta", body: box("chpl", list)})
				})
			},
			Want: withChapters(Steady(9, 440), Chapter{0, "A"}, Chapter{3, "B"}, Chapter{6, "C"}), Also: AlsoTrim | AlsoChapters,
		},
	}
}
