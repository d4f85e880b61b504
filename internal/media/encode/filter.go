package encode

import (
	"math"
	"strconv"
	"strings"
)

// soxr is the resampler. At 20 bits, far beyond what MP3 keeps, it takes the
// same path on every processor of an architecture.
const soxr = "resampler=soxr:precision=20"

// filters are ffmpeg's, from the decoder to the encoder: floating point all the
// way, so that nothing clips and nothing is rounded twice. The last one, the
// meter, changes nothing.
func (j *Job) filters(l level, m meter) string {
	chain := append([]string{"aformat=sample_fmts=fltp"}, reorder(j.plan.Track.Order)...)
	chain = append(chain, j.trim()...)
	chain = append(chain, j.mix()...)
	chain = append(chain, l.filters(j.plan.Rate)...)
	return strings.Join(append(chain, string(m)), ",")
}

// trim cuts the audio to the sample, on the clock of a player.
func (j *Job) trim() []string {
	if j.plan.Untrimmed() {
		return nil
	}
	cut := "atrim=start=" + micro(j.plan.Start)
	if j.plan.End > 0 {
		cut += ":end=" + micro(j.plan.End)
	}
	return []string{
		"asetpts='" + strings.ReplaceAll(steadyClock, "ZERO", "round("+micro(j.plan.Clock)+"/TB)") + "'",
		cut,
		"asetpts='PTS-round(" + micro(j.plan.Start) + "/TB)'",
	}
}

// steadyClock counts samples, because the time stamps of some containers are
// coarse: Matroska's are milliseconds. Audio that begins within 2 ms of the
// player's zero begins at zero. If a time stamp differs from the count by more
// than 20 ms, there is a pause, and counting goes on after it. Register 0 holds
// the difference between the clock and the count.
const steadyClock = "if(eq(N,0)," +
	"st(0,if(lt(abs(PTS-ZERO)*TB,0.002),0,PTS-ZERO))," +
	"if(gt(abs(PTS-ZERO-N/SR/TB-ld(0))*TB,0.02),st(0,PTS-ZERO-N/SR/TB)));" +
	"round(N/SR/TB+ld(0))"

// mix changes channels and sample rate to those of the MP3. More than two
// channels are mixed as ITU-R BS.775 says (centre and surrounds 3 dB down, no
// LFE). All are lowered as much as needed, so that even the loudest possible
// sum does not clip. A single channel is played on both sides at its full
// level.
func (j *Job) mix() []string {
	resample := "aresample=osr=" + strconv.Itoa(j.plan.Rate) + ":" + soxr
	if j.plan.Track.Channels == 1 && j.plan.Channels == 2 {
		return []string{resample + ":ochl=mono", "pan=stereo|c0=c0|c1=c0"}
	}
	const itu = ":center_mix_level=0.70710678:surround_mix_level=0.70710678:lfe_mix_level=0:rematrix_maxval=1"
	return []string{resample + ":ochl=" + j.plan.Layout() + itu}
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
