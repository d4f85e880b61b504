package mediatest

import (
	"bytes"
	"encoding/binary"
	"math"
)

// Difference is how another encoding of the same PCM differs from a plain one
// after both are decoded.
type Difference struct {
	Frames  int     // that differ
	Largest float64 // difference between samples; full scale is 1
	Noise   float64 // what the encoding added to the audio, against the plain one: energy, 1 is the same
	Click   float64 // the same for the worst frame that differs, against the worst plain frame within a second
}

// Compare compares what a decoder plays of two encodings of one PCM. All three
// have the same length and hold 32-bit floats, as Music does. frame is the
// number of bytes in a frame.
func Compare(pcm, plain, other []byte, frame int) Difference {
	d := Difference{Noise: 1}
	var added, addedPlain []float64
	var differs []bool
	for at := 0; at < len(plain); at += frame {
		end := min(at+frame, len(plain))
		added = append(added, energy(pcm[at:end], other[at:end]))
		addedPlain = append(addedPlain, energy(pcm[at:end], plain[at:end]))
		differs = append(differs, !bytes.Equal(plain[at:end], other[at:end]))
		if differs[len(differs)-1] {
			d.Frames++
			d.Largest = max(d.Largest, largest(plain[at:end], other[at:end]))
		}
	}
	if sum := total(addedPlain); sum > 0 {
		d.Noise = total(added) / sum
	}
	const second = 40 // frames
	for i, e := range added {
		if differs[i] {
			near := addedPlain[max(0, i-second):min(len(added), i+second)]
			d.Click = max(d.Click, e/(maximum(near)+1e-9))
		}
	}
	return d
}

// energy returns the energy of the difference.
func energy(a, b []byte) float64 {
	var sum float64
	for i := 0; i < len(a); i += 4 {
		d := sample(a[i:]) - sample(b[i:])
		sum += d * d
	}
	return sum
}

func largest(a, b []byte) float64 {
	var most float64
	for i := 0; i < len(a); i += 4 {
		most = max(most, math.Abs(sample(a[i:])-sample(b[i:])))
	}
	return most
}

func sample(b []byte) float64 {
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
}

func total(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x
	}
	return sum
}

func maximum(v []float64) float64 {
	var most float64
	for _, x := range v {
		most = max(most, x)
	}
	return most
}
