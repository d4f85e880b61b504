package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"tonearm/internal/conversion"
	"tonearm/test/world"
)

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// watchMemory notes the highest resident size of the given processes'
// descendants, by program, until stop is called.
func watchMemory(ctx context.Context, pids ...int) (stop func() map[string]int) {
	ctx, cancel := context.WithCancel(ctx)
	peaks := map[string]int{}
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, pid := range pids {
				for _, p := range family(pid) {
					status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
					m := peakLine.FindSubmatch(status)
					if err != nil || m == nil {
						continue
					}
					args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
					words := bytes.SplitN(args, []byte{0}, 3)
					name := filepath.Base(string(words[0]))
					if len(words) > 2 {
						name += " " + string(bytes.TrimRight(words[1], "\x00"))
					}
					kb, _ := strconv.Atoi(string(m[1]))
					peaks[name] = max(peaks[name], kb/1024)
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() map[string]int {
		cancel()
		wg.Wait()
		return peaks
	}
}

// TestLarge converts a source of 6 GB, uploaded in parts, and watches the
// memory of every process meanwhile. It needs about 20 GB of disk space, so it
// runs only on request: make large-test.
func TestLarge(t *testing.T) {
	if os.Getenv("TONEARM_TEST_LARGE") == "" {
		t.Skip("TONEARM_TEST_LARGE is not set")
	}
	video, size := makeVideo(t, "large.mp4", 10, 440)
	const want = 6 << 30
	f, err := os.OpenFile(video, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	// A box that players skip. A hole in the file takes the place of its
	// content.
	box := make([]byte, 16)
	binary.BigEndian.PutUint32(box, 1)
	copy(box[4:], "free")
	binary.BigEndian.PutUint64(box[8:], uint64(want-size))
	if _, err := f.WriteAt(box, size); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(want); err != nil {
		t.Fatal(err)
	}
	f.Close()

	u := startUp(t, t.TempDir(), "--listen", "127.0.0.1:0")
	owner := world.NewUser(t, u.server, "large@example.org")
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "tonearm"), "convert", "--json", "--send", "whole", "--out", t.TempDir(), "--server", u.server, video)
	cmd.Env = append(os.Environ(), "TONEARM_TOKEN="+owner.Token, "XDG_CONFIG_HOME="+t.TempDir())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	stop := watchMemory(t.Context(), u.Cmd.Process.Pid, cmd.Process.Pid)
	err = cmd.Wait()
	peaks := stop()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout.String(), stderr.String())
	}
	r := readResults(t, stdout.Bytes())[video]
	if r.State != string(conversion.Done) {
		t.Fatalf("%+v", r)
	}
	if heard := listen(t, r.MP3); heard.seconds < 9.95 || heard.seconds > 10.05 {
		t.Errorf("%.3f s, want 10 s", heard.seconds)
	}
	fmt.Printf("6 GiB in %s; peak resident MB by process: %v\n", time.Since(began).Round(time.Second), peaks)
	if len(peaks) < 4 {
		t.Errorf("only these processes were seen: %v", peaks)
	}
	for name, mb := range peaks {
		if mb > 200 {
			t.Errorf("%s took %d MB", name, mb)
		}
	}
}
