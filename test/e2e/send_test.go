package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/waittest"
	"tonearm/test/world"
)

// counter is a server whose store is behind a proxy that counts, and a user's command
// line.
type counter struct {
	*testing.T
	front *world.Front
	env   []string
}

func startCounter(t *testing.T) *counter {
	t.Helper()
	store := world.FreeAddr(t)
	front := world.StartFront(t, "http://"+store)
	u := startUp(t, t.TempDir(), "--listen", "127.0.0.1:0", "--s3-listen", store, "--s3-public-endpoint", front.URL)
	owner := world.NewUser(t, u.server, "send@example.org")
	return &counter{t, front, []string{
		"TONEARM_SERVER=" + u.server, "TONEARM_TOKEN=" + owner.Token, "HOME=" + t.TempDir(), "XDG_STATE_HOME=", "XDG_CONFIG_HOME=",
	}}
}

func (c *counter) command(args ...string) *exec.Cmd {
	return world.Command(c.T, c.env, filepath.Join(bin, "tonearm"), args...)
}

// run runs the command line, which must succeed. It returns what it printed, and how many
// bytes the store took meanwhile.
func (c *counter) run(args ...string) (stdout, stderr string, sent int64) {
	c.Helper()
	before := c.front.Bytes()
	cmd := c.command(args...)
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	if err := cmd.Run(); err != nil {
		c.Fatalf("%q: %v\n%s%s", args, err, out.String(), errors.String())
	}
	return out.String(), errors.String(), c.front.Bytes() - before
}

// convert is run for convert --json of one file.
func (c *counter) convert(path string, args ...string) (result, int64) {
	c.Helper()
	out, _, sent := c.run(append([]string{"convert", path, "--json"}, args...)...)
	return readResults(c.T, []byte(out))[path], sent
}

// film makes a video with much larger pictures than sound.
func film(t *testing.T, name string, args ...string) (path string, size int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	words := append([]string{
		"-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-f", "lavfi", "-i", "anoisesrc=color=pink:sample_rate=48000:seed=1",
		"-t", "10", "-c:v", "mpeg4", "-q:v", "2", "-g", "25", "-c:a", "aac", "-metadata", "title=A film",
	}, args...)
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", append(words, path)...).CombinedOutput(); err != nil {
		t.Fatalf("make a film: %v %s", err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, info.Size()
}

func contentOf(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSend converts videos by their sound and as a whole: the MP3s are the same, and the
// store takes what the command line says.
func TestSend(t *testing.T) {
	c := startCounter(t)
	for name, args := range map[string][]string{
		"film.mp4":      {"-movflags", "+faststart"},
		"fragments.mp4": {"-movflags", "frag_keyframe+empty_moov+default_base_moof"},
		"film.mov":      nil,
		"film.mkv":      nil,
		"film.ts":       nil,
	} {
		path, size := film(t, name, args...)
		out := t.TempDir()
		sound, took := c.convert(path, "--out", filepath.Join(out, "sound"))
		if sound.Sent == nil || sound.Sent.What != "sound" || sound.Sent.OriginalSize != size || sound.Size != took || took > size/4 {
			t.Errorf("%s: the store took %d of %d bytes, and the command says %+v", name, took, size, sound)
		}
		get, _, _ := c.run("get", *sound.ID, "--json")
		var cv api.Conversion
		if err := json.Unmarshal([]byte(get), &cv); err != nil || cv.Sent == nil || cv.Sent.OriginalSize != size || cv.Size != took {
			t.Errorf("%s: get says %+v of %d bytes, %v", name, cv.Sent, cv.Size, err)
		}
		whole, took := c.convert(path, "--out", filepath.Join(out, "whole"), "--force", "--send", "whole")
		if whole.Sent != nil || took != size {
			t.Errorf("%s as a whole: the store took %d of %d bytes, and the command says %+v", name, took, size, whole)
		}
		if !bytes.Equal(contentOf(t, sound.MP3), contentOf(t, whole.MP3)) {
			t.Errorf("%s: the MP3 of its sound is another one than that of the whole", name)
		}
		fmt.Printf("%s: %d of %d bytes are sent\n", name, sound.Size, size)
	}
}

// TestSendTold: a person is told what is sent, before and after.
func TestSendTold(t *testing.T) {
	c := startCounter(t)
	path, size := film(t, "film.mp4")
	other, _ := film(t, "other.mkv")
	third, _ := film(t, "third.ts")
	out := t.TempDir()
	share := `[\d,.]+( kB)? of [\d,.]+ MB: only the sound`
	told := func(what, text, pattern string) {
		t.Helper()
		if !regexp.MustCompile(`(?m)` + pattern).MatchString(text) {
			t.Errorf("%s: want %s in\n%s", what, pattern, text)
		}
	}
	dry, _, took := c.run("convert", path, "--out", out, "--dry-run")
	told("dry run", dry, `/film\.mp4 → .*/film\.mp3: `+share+`$`)
	line, _, _ := c.run("convert", path, "--out", out, "--dry-run", "--json")
	var planned struct {
		Bytes int64
		Sent  *struct {
			OriginalSize int64 `json:"original_size"`
		}
	}
	if err := json.Unmarshal([]byte(line), &planned); err != nil || planned.Sent == nil || planned.Sent.OriginalSize != size || took != 0 {
		t.Errorf("dry run: %s, %v; the store took %d bytes", line, err, took)
	}
	stdout, _, took := c.run("convert", path, "--out", out)
	told("one file", stdout, `^.*/film\.mp4 → .*/film\.mp3 \(sent `+share+`\)$`)
	if took != planned.Bytes {
		t.Errorf("%d bytes were sent, want the %d of the dry run", took, planned.Bytes)
	}
	stdout, stderr, took := c.run("convert", path, other, third, "--out", out)
	told("several files", stdout, `^.*/other\.mkv → .*/other\.mp3$`)
	told("their end", stderr, `^3 of 3 files are done\.\nSent `+share+` of 2 files\.$`)
	if took == 0 {
		t.Error("nothing was sent")
	}
	stdout, stderr, took = c.run("convert", path, other, third, "--out", out)
	if strings.Contains(stdout+stderr, "sound") || took != 0 {
		t.Errorf("the same again: the store took %d bytes\n%s%s", took, stdout, stderr)
	}
	known, took := c.convert(path, "--out", t.TempDir())
	if known.Size != planned.Bytes || known.Sent == nil || took != 0 {
		t.Errorf("known: %+v, and the store took %d bytes; the dry run said %d", known, took, planned.Bytes)
	}
	get, _, _ := c.run("get", *known.ID)
	told("get", get, `^sent +`+share+`$`)
}

// TestSendOtherwise: what is sent from standard input, of a folder that is watched, and
// what is known by its content.
func TestSendOtherwise(t *testing.T) {
	c := startCounter(t)
	path, size := film(t, "film.mp4")

	pipe := func(args ...string) (mp3 []byte, took int64) {
		t.Helper()
		before := c.front.Bytes()
		cmd := c.command(append([]string{"convert", "-", "--out", "-", "--title", "A film"}, args...)...)
		cmd.Stdin = bytes.NewReader(contentOf(t, path))
		var said bytes.Buffer
		cmd.Stderr = &said
		mp3, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, said.String())
		}
		return mp3, c.front.Bytes() - before
	}
	sound, took := pipe()
	if len(sound) == 0 || took == 0 || took > size/4 {
		t.Errorf("of standard input the store took %d of %d bytes", took, size)
	}
	if whole, took := pipe("--force", "--send", "whole"); took != size || !bytes.Equal(whole, sound) {
		t.Errorf("of all of it the store took %d of %d bytes; the same MP3: %t", took, size, bytes.Equal(whole, sound))
	}

	// Converted whole, then moved: nothing is sent. And the other way.
	for _, modes := range [][2]string{{"whole", "auto"}, {"auto", "whole"}} {
		title := "from " + modes[0]
		before, _ := c.convert(path, "--out", t.TempDir(), "--title", title, "--send", modes[0])
		moved := filepath.Join(t.TempDir(), "moved.mp4")
		if err := os.Link(path, moved); err != nil {
			t.Fatal(err)
		}
		after, took := c.convert(moved, "--out", t.TempDir(), "--title", title, "--send", modes[1])
		if took != 0 || *after.ID != *before.ID {
			t.Errorf("%s, moved: the store took %d bytes for conversion %s, want none for %s", title, took, *after.ID, *before.ID)
		}
	}

	before := c.front.Bytes()
	inbox, out := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(inbox, "came.mp4"), contentOf(t, path), 0o600); err != nil {
		t.Fatal(err)
	}
	watch := world.Start(t, c.env, filepath.Join(bin, "tonearm"), "convert", "--watch", inbox, "--out", out)
	waittest.Until(t, time.Minute, "the film was converted", func() bool {
		found, _ := filepath.Glob(filepath.Join(out, "*.mp3"))
		return len(found) == 1 || watch.Ended()
	})
	watch.Cmd.Process.Signal(os.Interrupt)
	<-watch.End
	if took := c.front.Bytes() - before; took == 0 || took > size/4 {
		t.Errorf("of a folder the store took %d of %d bytes", took, size)
	}
}

// TestSendTruncated: what was cut off is refused before anything is sent.
func TestSendTruncated(t *testing.T) {
	c := startCounter(t)
	for _, name := range []string{"film.mp4", "film.mkv"} {
		path, size := film(t, name, strings.Fields(map[string]string{"film.mp4": "-movflags +faststart"}[name])...)
		if err := os.Truncate(path, size/2); err != nil {
			t.Fatal(err)
		}
		var codes []string
		for _, send := range []string{"auto", "whole"} {
			before := c.front.Bytes()
			out, err := c.command("convert", path, "--json", "--send", send, "--out", t.TempDir()).Output()
			r := readResults(t, out)[path]
			if err == nil || r.Error == nil {
				t.Fatalf("%s: %v, %s", name, err, out)
			}
			codes = append(codes, r.Error.Code)
			if took := c.front.Bytes() - before; send == "auto" && (took != 0 || r.ID != nil) || send == "whole" && took != size/2 {
				t.Errorf("%s, %s: the store took %d bytes: %+v", name, send, took, r)
			}
		}
		if codes[0] != "truncated" || codes[1] != codes[0] {
			t.Errorf("%s is refused with %q", name, codes)
		}
	}
}

// TestSendKilled kills the command while it sends a large sound in parts. The next one
// sends only the parts that are missing, of the same file.
func TestSendKilled(t *testing.T) {
	const part, stored = 16 << 20, 2
	c := startCounter(t)
	path, size := film(t, "film.mov", "-c:v", "mjpeg", "-q:v", "2", "-af", "aformat=sample_rates=192000:channel_layouts=5.1", "-c:a", "pcm_s32le", "-t", "16")
	out := t.TempDir()
	c.front.LetPass(stored)
	first := world.Start(t, c.env, filepath.Join(bin, "tonearm"), "convert", path, "--out", out)
	waittest.Until(t, time.Minute, "some parts are stored and others on their way", func() bool {
		taken, _, held := c.front.Parts()
		return taken == stored && held > 0 || first.Ended()
	})
	if first.Ended() {
		t.Fatal("it was not sent in parts")
	}
	first.Cmd.Process.Signal(syscall.SIGKILL)
	<-first.End
	c.front.LetPass(-1)

	// Whatever is asked for now, it goes on as it was begun.
	r, took := c.convert(path, "--out", out, "--send", "whole")
	parts := int((r.Size + part - 1) / part)
	taken, again, _ := c.front.Parts()
	if r.Sent == nil || r.Sent.OriginalSize != size || r.Size >= size || parts < 5 || taken != parts || again != 0 {
		t.Errorf("%+v: %d of %d parts were stored, %d of them twice", r, taken, parts, again)
	}
	if took != r.Size-stored*part {
		t.Errorf("the second command sent %d bytes, want %d of %d", took, r.Size-stored*part, r.Size)
	}
	if list, _, _ := c.run("list", "--json"); strings.Count(list, "\n") != 1 {
		t.Errorf("want one conversion:\n%s", list)
	}
	whole, took := c.convert(path, "--out", t.TempDir(), "--force", "--send", "whole")
	if took != size || !bytes.Equal(contentOf(t, r.MP3), contentOf(t, whole.MP3)) {
		t.Errorf("of the whole %d of %d bytes were sent; the same MP3: %t", took, size, bytes.Equal(contentOf(t, r.MP3), contentOf(t, whole.MP3)))
	}
}
