package container

// Track is what a container says of one audio track.
type Track struct {
	Codec      string  // ffmpeg's name; '' for a rare codec, or where nobody asks
	SampleRate int     // Hz
	Channels   int     // 0 where it does not say
	Language   string  // as the container has it
	Default    bool    // the container's default track
	Seconds    float64 // length; 0 for none
	// Own means that Seconds counts the samples of this track. Otherwise it is what
	// the container says of all streams together, or of this one in passing: it may
	// be longer.
	Own bool
}

// counted is the only track of a file that counts its samples; none if either
// number is missing.
func counted(samples int64, rate float64) []Track {
	if samples <= 0 || !(rate > 0) || rate > 1<<32 {
		return nil
	}
	return []Track{{Seconds: float64(samples) / rate, Own: true}}
}
