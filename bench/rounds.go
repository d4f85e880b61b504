package main

import (
	"context"
	"fmt"
	"slices"

	"tonearm/bench/results"
)

// contender is one of several that do the same work in turn.
type contender struct {
	name   string
	rounds int                                                // in which it takes part; 0 for all
	run    func(context.Context) (seconds float64, err error) // the work, once
}

// sample holds the seconds of one contender's rounds.
type sample []float64

// alternate lets the contenders work in turn. Each round begins with another
// one, so that other work on the machine affects all of them.
func alternate(ctx context.Context, rounds int, contenders ...contender) (map[string]sample, error) {
	taken := map[string]sample{}
	for round := range rounds {
		for i := range contenders {
			c := contenders[(i+round)%len(contenders)]
			if c.rounds > 0 && round >= c.rounds {
				continue
			}
			seconds, err := c.run(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			taken[c.name] = append(taken[c.name], seconds)
		}
	}
	return taken, nil
}

// median returns the middle value, or the mean of the two middle ones.
func (s sample) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	if len(sorted) == 0 {
		return 0
	}
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// percentile returns the value that p percent of the values do not exceed.
func (s sample) percentile(p int) float64 {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[(len(sorted)*p+99)/100-1]
}

func (s sample) spread() results.Range { return results.NewRange(slices.Min(s), slices.Max(s)) }

// quicker returns the one of two contenders that takes less time.
func quicker(taken map[string]sample, one, other string) string {
	if taken[other].median() < taken[one].median() {
		return other
	}
	return one
}

// compare makes the figure of two contenders that had more than one round each.
func compare(taken map[string]sample, ours, peer, unit string) results.Figure {
	f := results.Against(taken[ours].median(), taken[peer].median(), unit)
	f.Spread = map[string]results.Range{"ours": taken[ours].spread(), "peer": taken[peer].spread()}
	return f
}
