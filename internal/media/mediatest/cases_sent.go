package mediatest

import (
	"strings"
	"testing"
)

// Sent are videos whose sound is sent without their pictures: with several tracks,
// pictures that are shown in another order than they are decoded, sound that begins
// later or earlier than the pictures, and what else stands in such files. Nothing is
// said of what is right for them but that it must not matter how they are sent.
func Sent() []Case {
	const (
		frames = "-c:v libx264 -preset ultrafast -bf 3 -g 24 -x264-params b-adapt=0 "
		tracks = "-map 0:v -map 1:a -map 2:a -metadata:s:a:0 language=ger -metadata:s:a:1 language=eng "
	)
	video := []string{"-f", "lavfi", "-i", "testsrc=size=160x120:rate=24:duration=6"}
	two := both(video, tone(6, 443.7, 48000), tone(6, 880, 44100))
	offset := func(seconds string, of, beside []string) []string {
		return both(of, []string{"-itsoffset", seconds}, beside)
	}
	late := offset("0.7", video, tone(5, 443.7, 48000))
	early := both([]string{"-itsoffset", "0.7"}, video, tone(6, 443.7, 48000))
	var cases []Case
	add := func(name, about string, inputs []string, args string) {
		cases = append(cases, Case{
			Name: name, About: about, From: []string{"it must not matter how a file is sent"},
			Make: func(t testing.TB, path string, _ *Want) { encode(t, path, inputs, args) },
			Want: Want{Seconds: 5},
		})
	}
	for _, ext := range []string{".mp4", ".mov", ".mkv", ".ts"} {
		add("sent two tracks"+ext, "two tracks in two languages, beside pictures in another order", two, tracks+frames+"-c:a:0 aac -c:a:1 ac3")
		add("sent late sound"+ext, "the sound begins 0.7 s later than the pictures", late, frames+"-c:a aac")
		add("sent late mpeg4"+ext, "the same, with pictures whose order a demuxer knows", late, "-c:v mpeg4 -bf 2 -c:a aac")
		add("sent late pictures"+ext, "the pictures begin 0.7 s later than the sound", early, frames+"-c:a aac")
	}
	add("sent late mpeg4 fragments.mp4", "fragments, and the sound begins later", late, "-c:v mpeg4 -c:a aac -movflags +frag_keyframe+empty_moov+default_base_moof")
	for name, flags := range map[string]string{
		"keyframes": "frag_keyframe", "offsets": "frag_keyframe+omit_tfhd_offset", "dash": "frag_keyframe+empty_moov+default_base_moof+dash",
		"separate": "frag_keyframe+empty_moov+separate_moof+default_base_moof", "every frame": "frag_every_frame+empty_moov+default_base_moof",
		"negative": "frag_keyframe+empty_moov+default_base_moof+negative_cts_offsets", "sidx": "frag_keyframe+empty_moov+default_base_moof+global_sidx",
	} {
		add("sent fragments "+name+".mp4", "a fragmented file as ffmpeg writes it with movflags "+flags, two, tracks+frames+"-c:a:0 aac -c:a:1 aac -movflags +"+flags)
		add("sent late fragments "+name+".mp4", "the same, and the sound begins later", late, frames+"-c:a aac -movflags +"+flags)
	}
	add("sent default.mkv", "the second track is the default one", two, tracks+frames+"-c:a flac -disposition:a:0 0 -disposition:a:1 default")
	add("sent default.mp4", "the second track is the default one", two, tracks+frames+"-c:a alac -disposition:a:0 0 -disposition:a:1 default")
	add("sent late opus.webm", "Opus with its delay, later than the pictures", late, "-c:v libvpx -b:v 100k -c:a libopus")
	add("sent opus.webm", "Opus with its delay", both(video, tone(6, 443.7, 48000)), "-c:v libvpx -b:v 100k -c:a libopus")
	add("sent live.webm", "a recording of unknown size", late, "-c:v libvpx -b:v 100k -c:a libopus -live 1")
	add("sent large clusters.mkv", "one cluster, and the index at the front", late, frames+"-c:a vorbis -strict -2 -ac 2 -cluster_time_limit 30000 -cluster_size_limit 100M -reserve_index_space 4000")
	add("sent open groups.ts", "pictures with B frames in open groups", two, tracks+"-c:v mpeg2video -bf 2 -g 12 -c:a:0 mp2 -c:a:1 aac")
	add("sent wrap.ts", "the clock of 33 bits goes back to zero midway", two, tracks+frames+"-c:a aac -output_ts_offset 95441")
	add("sent mp3.mkv", "MP3, of a bit rate that varies", both(video, tone(6, 443.7, 48000)), frames+"-c:a libmp3lame -q:a 5")
	add("sent pcm.mkv", "PCM", late, frames+"-c:a pcm_s24le")
	subtitles := "1\n00:00:00,000 --> 00:00:02,000\nfirst\n\n2\n00:00:04,000 --> 00:00:09,500\nlast\n"
	for name, args := range map[string]string{
		"sent everything.mkv": "-map_metadata 3 -c:s srt -metadata:s:t mimetype=text/plain -attach ATTACHED",
		"sent everything.mp4": "-map_metadata 3 -c:s mov_text -movflags +faststart",
		"sent everything.mov": "-map_metadata 3 -c:s mov_text -timecode 01:00:00:00",
	} {
		cases = append(cases, Case{
			Name: name, About: "chapters, tags and subtitles that begin before the sound and end after it", From: []string{"it must not matter how a file is sent"},
			Make: func(t testing.TB, path string, _ *Want) {
				list := chapters(t, "title=T\nartist=A\ncomment=C\ndate=2026\n", 6, Chapter{0, "one"}, Chapter{2, "two"}, Chapter{4.5, "three"})
				inputs := both(late, []string{"-i", text(t, "s.srt", subtitles), "-i", list})
				words := strings.ReplaceAll(args, "ATTACHED", text(t, "a.txt", subtitles))
				encode(t, path, inputs, "-map 0:v -map 1:a -map 2 "+frames+"-c:a aac "+words)
			},
			Want: Want{Seconds: 5},
		})
	}
	return append(cases, sentMade()...)
}
