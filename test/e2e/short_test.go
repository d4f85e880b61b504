package e2e

import (
	"bytes"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/internal/waittest"
	"tonearm/test/world"
)

// sendMany uploads the same file several times at once, and returns the
// conversions' ids. The idempotency keys are numbered from first on.
func sendMany(t *testing.T, u *world.User, path string, first, files int) []string {
	t.Helper()
	ids := make([]string, files)
	var uploads sync.WaitGroup
	for worker := range 8 {
		uploads.Go(func() {
			for i := worker; i < files; i += 8 {
				ids[i] = uploadStubbornly(t.Context(), t, u, first+i, path)
			}
		})
	}
	uploads.Wait()
	return ids
}

// allDone waits until all conversions are done.
func allDone(t *testing.T, u *world.User, ids []string) {
	t.Helper()
	for i, id := range ids {
		if c := u.Final(id, 10*time.Minute); c.State != conversion.Done {
			t.Fatalf("file %d ended as %s: %+v", i, c.State, c.Error)
		}
	}
}

// perMinute sends the same file many times and returns how many are done a
// minute, from the first upload to the last MP3.
func perMinute(t *testing.T, u *world.User, path string, first, files int) float64 {
	t.Helper()
	began := time.Now()
	allDone(t, u, sendMany(t, u, path, first, files))
	return float64(files) / time.Since(began).Minutes()
}

// launches returns how many attempts were launched, and how many were carried
// by an earlier launch.
func (u *up) launches() (launched, carried int) {
	log := u.Out.String()
	return strings.Count(log, `msg="attempt launched"`), strings.Count(log, `msg="attempt carried"`)
}

// transcoders returns the processes of attempts.
func (u *up) transcoders() []process {
	var found []process
	for _, p := range family(u.Cmd.Process.Pid) {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
		if program, _, _ := bytes.Cut(line, []byte{0}); filepath.Base(string(program)) == "transcoder" {
			found = append(found, p)
		}
	}
	return found
}

// TestShortFiles sends 30 clips through launches that go on. In the middle it
// kills the process of an attempt, and then everything.
func TestShortFiles(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	const files = 30
	dir := t.TempDir()
	args := []string{"--listen", world.FreeAddr(t), "--max-files-per-job", "50", "--max-jobs", "1", "--attempt-lease", "3s"}
	first := startUp(t, dir, args...)
	owner := world.NewUser(t, first.server, "owner@example.org")
	clip, _ := makeVideo(t, "clip.mp4", 5, 440)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "tonearm.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	count := func(where string) (n int) {
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM conversion WHERE "+where).Scan(&n); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		return n
	}
	carrying := func(done int) func() bool {
		return func() bool {
			return count("state = 'done'") >= done &&
				count("state = 'running' AND json_extract(document, '$.carrier.launch.attempt') = 1") == 1
		}
	}
	ids := sendMany(t, owner, clip, 0, files)

	waittest.Until(t, time.Minute, "a launch carries its third file", carrying(3))
	for _, p := range first.transcoders() {
		syscall.Kill(p.pid, syscall.SIGKILL)
	}
	waittest.Until(t, time.Minute, "another one goes on", carrying(10))
	syscall.Kill(-first.Cmd.Process.Pid, syscall.SIGKILL)
	<-first.End
	second := startUp(t, dir, args...)
	owner.Login()
	allDone(t, owner, ids)

	var list api.Conversions
	if status, body := owner.Do("GET", "/v1/conversions?limit=200", nil, &list); status != http.StatusOK || len(list.Conversions) != files {
		t.Errorf("list: %d, %d conversions %s", status, len(list.Conversions), body)
	}
	mp3s := map[string]bool{}
	attempts := 0
	for _, c := range list.Conversions {
		mp3s[c.MP3.ID] = true
		attempts += c.Attempt
	}
	objects, _ := filepath.Glob(filepath.Join(dir, "s3", "data", "tonearm", "mp3s", "*", "*", "*.mp3"))
	waittest.Until(t, time.Minute, "every notice is sent", func() bool { return count("json_extract(document, '$.notice.state') <> 'sent'") == 0 })
	mails, _ := filepath.Glob(filepath.Join(dir, "outbox", "*.eml"))
	launched, carried := first.launches()
	l, c := second.launches()
	launched, carried = launched+l, carried+c
	fmt.Printf("%d clips, killed twice: %d attempts in %d processes, %d MP3s, %d MP3 objects, %d mails\n",
		files, attempts, launched, len(mp3s), len(objects), len(mails))
	if len(mp3s) != files || len(mails) < files || len(mails) > files+1 {
		t.Errorf("want %d MP3s and mails", files)
	}
	if len(objects) > attempts || attempts > files+2 { // the result of a killed attempt is removed later
		t.Errorf("%d attempts and %d objects", attempts, len(objects))
	}
	if n := launched + carried; n < attempts-1 || n > attempts || launched > 6 { // the last line before a kill may be lost
		t.Errorf("%d launched and %d carried for %d attempts", launched, carried, attempts)
	}
}

// testShortFiles measures 30 clips (or TONEARM_TEST_CLIPS) on a node, once with
// a Job for each file and once with up to 50 files for each Job.
func (k *cluster) testShortFiles(t *testing.T, u *world.User, deployment string) {
	const seconds = 5
	files := 30
	if n, err := strconv.Atoi(os.Getenv("TONEARM_TEST_CLIPS")); err == nil {
		files = n
	}
	clip, _ := makeVideo(t, "short.mp4", seconds, 440)
	rates := map[int]float64{}
	for i, most := range []int{1, 50} {
		kubectl(t, "-n", services, "set", "env", "deploy/"+deployment, fmt.Sprintf("TONEARM_MAX_FILES_PER_JOB=%d", most))
		kubectl(t, "-n", services, "rollout", "status", "deploy/"+deployment, "--timeout=3m")
		waittest.Until(t, time.Minute, "it answers", func() bool {
			status, _ := u.Do("GET", "/openapi.json", nil, nil)
			return status == http.StatusOK
		})
		waittest.Until(t, time.Minute, "the node is idle", func() bool { return len(k.jobs(t)) == 0 })
		before := k.made()
		rates[most] = perMinute(t, u, clip, 1000+i*files, files)
		pods := k.made() - before
		fmt.Printf("%d clips of %d s, at most %d a Job: %d pods, %.0f files per minute\n", files, seconds, most, pods, rates[most])
		if most == 1 && pods != files || most > 1 && (pods < files/most || pods > files/2) {
			t.Errorf("%d pods for %d files", pods, files)
		}
	}
	fmt.Printf("short files: %.1f times as many a minute with 50 a Job\n", rates[50]/rates[1])
}

// made returns how many pods of attempts were ever seen.
func (k *cluster) made() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.pods)
}
