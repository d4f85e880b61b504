package encode

import (
	"math"
	"strconv"
	"strings"

	"tonearm/internal/media/plan"
)

// soxr is the resampler. At 20 bits, far beyond what MP3 keeps, it takes the
// same path on every processor of an architecture.
const soxr = "resampler=soxr:precision=20"

// filters are ffmpeg's, from the decoder to the encoder: floating point all the
// way, so that nothing clips and nothing is rounded twice. The last one, the
// meter, changes nothing. Stretches have been trimmed and mixed already.
func (j *job) filters(l level, m meter) string {
	chain := []string{"aformat=sample_fmts=fltp"}
	if j.stretches == nil {
		chain = append(chain, reorder(j.plan.Track.Order)...)
		chain = append(chain, j.trim()...)
		if j.plan.Track.Ambisonic {
			chain = append(chain, ambisonic, mix(j.plan, 2)[0])
		} else {
			chain = append(chain, mix(j.plan, j.plan.Track.Channels)...)
		}
	}
	chain = append(chain, l.filters(j.plan.Rate)...)
	return strings.Join(append(chain, string(m)), ",")
}

// ambisonic is what two ears hear of a sound field: what comes from everywhere, and
// what comes from the left (RFC 8486, section 4).
const ambisonic = "pan=stereo|FL=0.5*c0+0.5*c1|FR=0.5*c0-0.5*c1"

// trim cuts the audio to the sample, on the clock of a player. On the way, and
// without a trim, too, it prints the jumps of the clock.
func (j *job) trim() []string {
	if j.info.Chained { // the count is the clock
		return j.cut("round(N/SR/TB)")
	}
	if j.plan.Whole() { // for a guess, which does not know the clock; see shift
		return []string{"asetpts='" + strings.ReplaceAll(steadyClock, "ZERO", "0") + ";PTS'"}
	}
	clock := strings.ReplaceAll(steadyClock, "ZERO", "round("+micro(j.plan.Clock)+"/TB)")
	return j.cut(clock + ";round(N/SR/TB+ld(0))")
}

// cut cuts the audio on a clock, an expression of asetpts.
func (j *job) cut(clock string) []string {
	cut := "atrim=start=" + micro(j.plan.Start)
	if j.plan.End > 0 {
		cut += ":end=" + micro(j.plan.End)
	}
	return []string{"asetpts='" + clock + "'", cut, "asetpts='PTS-round(" + micro(j.plan.Start) + "/TB)'"}
}

// The clock counts samples, because the time stamps of some containers are
// coarse: Matroska's are milliseconds. Audio that begins within softStart seconds
// of the player's zero begins at zero. If a time stamp differs from the count by
// more than pause, the clock jumps, and counting goes on from there.
const (
	softStart = 0.002
	pause     = 0.02
)

// maxJumps limits how much a hostile file can make ffmpeg print, and us keep.
const maxJumps = 1000

// steadyClock is the clock as an expression. Register 0 holds the difference
// between the clock and the count, register 1 how many jumps were printed: of each
// two lines, the seconds counted and the difference in seconds. [clock] is the same
// in Go.
var steadyClock = "if(eq(N,0),st(0,if(lt(abs(PTS-ZERO)*TB," + number(softStart) + "),0,PTS-ZERO));" + printJump + ");" +
	"if(gt(abs(PTS-ZERO-N/SR/TB-ld(0))*TB," + number(pause) + "),st(0,PTS-ZERO-N/SR/TB);" + printJump + ")"

var printJump = "if(lt(ld(1)," + number(maxJumps) + "),st(1,ld(1)+1);print(N/SR);print(ld(0)*TB))"

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// mix changes channels and sample rate to those of the MP3. More than two
// channels are mixed as ITU-R BS.775 says (centre and surrounds 3 dB down, no
// LFE). All are lowered as much as needed, so that even the loudest possible
// sum does not clip. A single channel is played on both sides at its full
// level.
func mix(p plan.Plan, channels int) []string {
	resample := "aresample=osr=" + strconv.Itoa(p.Rate) + ":" + soxr
	if channels == 1 && p.Channels == 2 {
		return []string{resample + ":ochl=mono", "pan=stereo|c0=c0|c1=c0"}
	}
	const itu = ":center_mix_level=0.70710678:surround_mix_level=0.70710678:lfe_mix_level=0:rematrix_maxval=1"
	return []string{resample + ":ochl=" + p.Layout() + itu}
}

// level is how the loudness is changed: a constant gain, and a ceiling if peaks
// must be held.
type level struct {
	gain    float64 // dB
	limited bool
	ceiling float64 // dBTP
}

// filters returns the filters for the level. The limiter works at four times
// the sample rate, where peaks between samples are visible. It looks ahead, and
// makes up for the delay that this causes.
func (l level) filters(rate int) []string {
	var chain []string
	if l.gain != 0 {
		chain = append(chain, "volume=volume="+strconv.FormatFloat(l.gain, 'f', 2, 64)+"dB:precision=float")
	}
	if l.limited {
		const lowest = 0.0625 // lowest value that the limiter accepts
		limit := max(lowest, math.Pow(10, l.ceiling/20))
		chain = append(chain,
			"aresample=osr="+strconv.Itoa(4*rate)+":"+soxr,
			"alimiter=limit="+strconv.FormatFloat(limit, 'f', 6, 64)+":level=0:latency=1:attack=5:release=50",
			"aresample=osr="+strconv.Itoa(rate)+":"+soxr)
	}
	return chain
}

// micro writes seconds as precisely as ffmpeg reads them.
func micro(seconds float64) string { return strconv.FormatFloat(seconds, 'f', 6, 64) }
