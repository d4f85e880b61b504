package encode

import "testing"

// TestSteps: several runs over the same audio report as one that grows to the
// audio's length and no further.
func TestSteps(t *testing.T) {
	var told []float64
	work := steps{report: func(seconds float64) { told = append(told, seconds) }}
	for _, share := range []float64{0.3, 0.5, 0.2, 0.5, 0.2} {
		run := work.next(share)
		for _, seconds := range []float64{0, 5, 10} {
			run(seconds)
		}
	}
	for i := 1; i < len(told); i++ {
		if told[i] <= told[i-1] {
			t.Errorf("%v after %v", told[i], told[i-1])
		}
	}
	if len(told) == 0 || told[0] != 1.5 || told[len(told)-1] != 10 {
		t.Errorf("told %v", told)
	}
}
