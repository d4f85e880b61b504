package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tonearm/bench/results"
	"tonearm/bench/stack"
	"tonearm/internal/client"
	"tonearm/internal/conversion"
)

const (
	scaleOwners  = 20
	scaleUploads = 16 // at a time
	scaleJobs    = 50 // at a time
	scaleStall   = time.Minute
	scaleSource  = 1000 // bytes; nobody reads them
)

var scaleRounds = []int{100, 1000, 10000}

// scaling is one life of Tonearm, which more and more files go through. Their
// pods are simulated, so that everything except the conversion itself is
// measured.
type scaling struct {
	*node
	up     *stack.Up
	pods   *kubelet
	owners []*client.Client
	posted float64 // Jobs that the API server had made before the start
	files  int     // so far
}

func measureScale(ctx context.Context, n *node) (map[string]results.Figure, error) {
	classes, stop, err := n.startKWOK(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	s := &scaling{node: n}
	if s.up, err = n.start(ctx, "scale", "simulated", "--max-jobs", strconv.Itoa(scaleJobs), "--target", "0", "--job-classes", classes); err != nil {
		return nil, err
	}
	defer s.up.Stop()
	if s.pods, err = n.startKubelet(ctx); err != nil {
		return nil, err
	}
	defer s.pods.stop()
	for i := range scaleOwners {
		owner, err := s.up.Client(ctx, fmt.Sprintf("owner-%d@example.com", i))
		if err != nil {
			return nil, err
		}
		s.owners = append(s.owners, owner)
	}
	if s.posted, err = s.jobsPosted(ctx); err != nil {
		return nil, err
	}
	return s.rounds(ctx)
}

func (s *scaling) rounds(ctx context.Context) (map[string]results.Figure, error) {
	figures, held := map[string]results.Figure{}, map[string]float64{}
	var last memory
	for _, round := range scaleRounds {
		files := max(1, round/s.shorten)
		before := processors(s.up.PID)
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.up.PID), []byte("5"), 0o200); err != nil {
			return nil, fmt.Errorf("forget the peak of memory: %w", err)
		}
		perFile, err := s.round(ctx, files)
		if err == nil {
			err = s.check(ctx)
		}
		if err != nil {
			s.printWarnings()
			return nil, fmt.Errorf("round of %d files: %w", files, err)
		}
		used := processors(s.up.PID).since(before)
		f := results.Plain(perFile, "ms")
		f.Note = fmt.Sprintf("%d Jobs at a time; %s", scaleJobs, used.shares())
		figures[fmt.Sprintf("scale.ms_per_file_%d", round)] = f
		last = memoryOf(s.up.PID)
		held[fmt.Sprintf("after_%d", round)] = results.Plain(last.now, "MB").Ours
		_, most, _ := s.pods.count()
		fmt.Printf("%d files: %.1f ms a file, at most %d Jobs at a time, tonearm up has %.1f MB\n%s", files, perFile, most, last.now, used.table(files))
	}
	jobs, _, _ := s.pods.count()
	f := results.Plain(last.peak, "MB")
	f.More, f.Note = held, fmt.Sprintf("the peak; %.0f MB are pages of the program's file", last.file)
	figures["scale.rss_mb"] = f
	figures["scale.jobs_per_upload"] = results.Plain(float64(jobs)/float64(s.files), "")
	return figures, nil
}

// round sends so many files through and returns the time per file in ms, from
// the begin of the first upload to the end of the last conversion.
func (s *scaling) round(ctx context.Context, files int) (float64, error) {
	began := time.Now()
	uploads, uploading := errgroup.WithContext(ctx)
	uploads.SetLimit(scaleUploads)
	for i := range files {
		uploads.Go(func() error {
			_, err := stack.Upload(uploading, s.owners[i%len(s.owners)], fmt.Sprintf("video-%d.mp4", i), bytes.NewReader(make([]byte, scaleSource)), scaleSource)
			return err
		})
	}
	if err := uploads.Wait(); err != nil {
		return 0, err
	}
	fmt.Printf("%d files uploaded in %.1f s\n", files, time.Since(began).Seconds())
	s.files += files
	if err := s.done(ctx); err != nil {
		return 0, err
	}
	last, err := s.checkRecords(ctx)
	return last.Sub(began).Seconds() * 1000 / float64(files), err
}

// done waits until all files are converted. It gives up if no more are done for
// a while.
func (s *scaling) done(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	most, since := 0., time.Now()
	for {
		metrics, err := adminMetrics(ctx)
		if err != nil {
			return err
		}
		_, _, failed := s.pods.count()
		done := sum(metrics, "tonearm_conversions_finished_total", `state="done"`)
		switch all := sum(metrics, "tonearm_conversions_finished_total"); {
		case failed != nil:
			return failed
		case all != done:
			return fmt.Errorf("%g conversions failed or expired", all-done)
		case done >= float64(s.files):
			return nil
		case done > most:
			most, since = done, time.Now()
		case time.Since(since) > scaleStall:
			return fmt.Errorf("%g of %d files are done, and no more for %s", done, s.files, scaleStall)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// checkRecords checks every conversion and returns when the last one ended.
func (s *scaling) checkRecords(ctx context.Context) (last time.Time, err error) {
	mp3s := map[string]bool{}
	for _, owner := range s.owners {
		for cursor, more := "", true; more; more = cursor != "" {
			page, err := owner.List(ctx, nil, cursor, 200)
			if err != nil {
				return last, err
			}
			for _, c := range page.Conversions {
				if c.State != conversion.Done || c.Attempt != 1 {
					return last, fmt.Errorf("conversion %s is %s after %d attempts", c.ID, c.State, c.Attempt)
				}
				mp3s[c.MP3.ID] = true
				if c.FinishedAt.After(last) {
					last = *c.FinishedAt
				}
			}
			cursor = page.Next
		}
	}
	if len(mp3s) != s.files {
		return last, fmt.Errorf("%d MP3s of %d files", len(mp3s), s.files)
	}
	return last, nil
}

// check waits until a round and all its consequences are over, and checks that
// nothing happened twice.
func (s *scaling) check(ctx context.Context) error {
	err := await(ctx, time.Minute, "a mail for each file", func(context.Context) (bool, error) {
		mails, err := filepath.Glob(filepath.Join(s.scratch, "scale", "outbox", "*.eml"))
		if len(mails) > s.files {
			err = fmt.Errorf("%d mails of %d files", len(mails), s.files)
		}
		return len(mails) == s.files, err
	})
	if err != nil {
		return err
	}
	err = await(ctx, time.Minute, "the end of all Jobs and pods", func(ctx context.Context) (bool, error) {
		one := metav1.ListOptions{Limit: 1}
		jobs, err := s.kube.BatchV1().Jobs(namespace).List(ctx, one)
		if err != nil || len(jobs.Items) > 0 {
			return false, err
		}
		pods, err := s.kube.CoreV1().Pods(namespace).List(ctx, one)
		return err == nil && len(pods.Items) == 0, err
	})
	if err != nil {
		return err
	}
	posted, err := s.jobsPosted(ctx)
	if err != nil {
		return err
	}
	log, err := s.log()
	if err != nil {
		return err
	}
	jobs, most, err := s.pods.count()
	switch posted -= s.posted; {
	case err != nil:
		return err
	case jobs != s.files || posted != float64(s.files):
		return fmt.Errorf("%d Jobs seen, %g made, of %d files", jobs, posted, s.files)
	case most > scaleJobs:
		return fmt.Errorf("%d Jobs at a time, %d are allowed", most, scaleJobs)
	case strings.Contains(log, throttled):
		return errors.New("a call of tonearm up to the API server waited for more than a second for the client's own limit")
	}
	return nil
}

func (s *scaling) log() (string, error) {
	log, err := os.ReadFile(filepath.Join(s.scratch, "scale.log"))
	return string(log), err
}

// printWarnings prints the last warnings of tonearm up.
func (s *scaling) printWarnings() {
	log, _ := s.log()
	warnings := slices.DeleteFunc(slices.Collect(strings.Lines(log)), func(line string) bool {
		return strings.Contains(line, "level=INFO")
	})
	fmt.Print(strings.Join(warnings[max(0, len(warnings)-20):], ""))
}

// throttled is what the client of the API server logs when its own limit has
// held a call up for more than a second.
const throttled = "Waited before sending request"

// jobsPosted is how many Jobs the API server has made.
func (s *scaling) jobsPosted(ctx context.Context) (float64, error) {
	metrics, err := s.kube.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return 0, fmt.Errorf("metrics of the API server: %w", err)
	}
	return sum(metrics, "apiserver_request_total", `verb="POST"`, `resource="jobs"`, `code="201"`), nil
}

// adminMetrics returns the metrics of tonearm up.
func adminMetrics(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("metrics of tonearm up: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	return io.ReadAll(resp.Body)
}

// sum adds up the values of name in a page of metrics, for series with these
// labels.
func sum(page []byte, name string, labels ...string) (total float64) {
samples:
	for line := range strings.Lines(string(page)) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if base, _, _ := strings.Cut(series, "{"); !ok || base != name {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(series, label) {
				continue samples
			}
		}
		v, _ := strconv.ParseFloat(value, 64)
		total += v
	}
	return total
}
