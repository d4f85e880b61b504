package container

// Track is what a container says of one audio track.
type Track struct {
	Codec      string  // ffmpeg's name; '' for a rare codec
	SampleRate int     // Hz
	Channels   int     // 0 where it does not say
	Language   string  // as the container has it
	Default    bool    // the container's default track
	Seconds    float64 // length that the container promises for all streams together; 0 for none
}
