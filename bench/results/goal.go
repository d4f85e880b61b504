package results

import "strings"

// Goals of figures.
const (
	fasterThanPeer  = 1.05 // times, on the way from a store to an MP3; or
	nearFloor       = 1.03 // times the floor at most
	fasterThanOne   = 1.5  // times, two workers than our one, and
	fasterThanStock = 1.8  // times, than ffmpeg as it is installed
	largestImage    = 40   // MB
	fasterThan20m   = 40   // times, only the sound than all of a video of 20 Mbit/s, behind 20 Mbit/s
	fasterThan100m  = 10   // and behind 100 Mbit/s
)

// Stock is the name in More of what ffmpeg, as it is installed, takes for the
// same work.
const Stock = "stock_ffmpeg"

// OverFloor returns how many times its floor the figure is; 0 without a floor.
func (f Figure) OverFloor() float64 {
	if f.Floor == 0 {
		return 0
	}
	return rounded(f.Ours / f.Floor)
}

// Over returns how many times a value in More is ours; 0 if it is missing.
func (f Figure) Over(name string) float64 { return rounded(f.More[name] / f.Ours) }

// Goal reports whether the figure of this name meets its goal. set is false if
// it has none.
func (f Figure) Goal(name string) (met, set bool) {
	if name == "image.transcoder_mb" {
		return f.Ours < largestImage, true
	}
	if f.Ratio == nil {
		return false, false
	}
	switch {
	case strings.HasPrefix(name, "source."):
		return *f.Ratio >= fasterThanPeer || f.Ours <= nearFloor*f.Floor, true
	case name == "encode.one_hour_2_workers":
		return *f.Ratio >= fasterThanOne && f.Over(Stock) >= fasterThanStock, true
	case name == "send.20m_uplink_20m_video":
		return *f.Ratio >= fasterThan20m, true
	case name == "send.100m_uplink_20m_video":
		return *f.Ratio >= fasterThan100m, true
	case name == "short.100_clips":
		return *f.Ratio >= 1, true
	}
	return false, false
}
