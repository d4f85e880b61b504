package mp4

// Name returns ffmpeg's name of the track's codec, for the most frequent codecs of
// audio; empty for others.
func (t *Track) Name() string {
	switch t.Codec {
	case "mp4a":
		switch t.Object {
		case 0, 0x40, 0x66, 0x67, 0x68: // other objects may be MP3
			return "aac"
		}
	case "Opus":
		return "opus"
	case "ac-3":
		return "ac3"
	case "ec-3":
		return "eac3"
	case "alac":
		return "alac"
	}
	return ""
}

// Decodable reports whether the track's codec is surely one that is accepted.
func (t *Track) Decodable() bool {
	switch t.Codec {
	case "sowt", "twos", "in24", "in32", "fl32", "fl64", "lpcm", "raw ", "ulaw", "alaw", "ima4", "fLaC", ".mp3", "samr", "sawb":
		return !t.Encrypted
	}
	return !t.Encrypted && t.Name() != ""
}
