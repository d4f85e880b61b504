package main

import (
	"fmt"
	"slices"
)

// totals sum up results.
type totals struct {
	cells, red, skipped, broken                                                        int
	uploads, acknowledged, done, failed, lost, unfinished, wrong, doubled, secondMails int
	recoveries                                                                         []float64 // the longest of each cell, seconds
}

func (t *totals) add(r result) {
	t.cells++
	switch {
	case r.Skipped != "":
		t.skipped++
		return
	case r.Error != "":
		t.broken++
		return
	case len(r.Red) > 0:
		t.red++
	}
	t.uploads += r.Uploads
	t.acknowledged += r.Acknowledged
	t.done += r.Done
	t.failed += r.Failed
	t.lost += r.Lost
	t.unfinished += r.Unfinished
	t.wrong += r.Wrong
	t.doubled += r.Doubled
	t.secondMails += r.SecondMails
	t.recoveries = append(t.recoveries, r.RecoveryMax)
}

// percentile of the recoveries; p is from 0 to 1.
func (t *totals) percentile(p float64) float64 {
	if len(t.recoveries) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t.recoveries))
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

func (t *totals) line() string {
	return fmt.Sprintf("%d cells, %d red, %d skipped, %d not run; %d uploads, %d acknowledged: %d done, %d failed rightly, lost %d, unfinished %d, failed wrongly %d, doubled %d; second mails %d; recovery p50 %.0f s, p99 %.0f s",
		t.cells, t.red, t.skipped, t.broken, t.uploads, t.acknowledged, t.done, t.failed, t.lost, t.unfinished, t.wrong, t.doubled, t.secondMails, t.percentile(0.5), t.percentile(0.99))
}

func (t *totals) status() int {
	switch {
	case t.broken > 0:
		return 2
	case t.red > 0:
		return 1
	}
	return 0
}
