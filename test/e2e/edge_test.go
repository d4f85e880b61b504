package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tonearm/internal/conversion"
	"tonearm/internal/waittest"
	"tonearm/test/docs"
	"tonearm/test/world"
)

// TestClusterEdge installs the overlay edge in place of the overlay test, as
// its README says. It ends the only pod in the middle of a file.
func TestClusterEdge(t *testing.T) {
	k := connect(t)
	addr := os.Getenv("TONEARM_TEST_NODE_ADDR")
	kubectl(t, "delete", "--ignore-not-found", "--timeout=3m", "-k", "../../kustomize/overlays/test")
	dir := edgeFor(t, addr)
	overlay := filepath.Join(dir, "kustomize", "overlays", "edge")
	video, _ := makeVideo(t, "clip.mp4", 7, 440)
	if err := os.Symlink(video, filepath.Join(dir, "video.mp4")); err != nil {
		t.Fatal(err)
	}
	makeVolume(t)
	logOnFailure(t, "tonearm")
	k.watchPods(t)
	began := time.Now()
	follow(t, dir, "edge", "HOME="+t.TempDir())
	fmt.Printf("edge: installed, and the first file converted, in %s\n", time.Since(began).Round(100*time.Millisecond))
	if _, err := os.Stat(filepath.Join(dir, "mp3s", "video.mp3")); err != nil {
		t.Error(err)
	}
	u := &world.User{T: t, Server: k.server, Email: "edge@example.org"}
	add := exec.CommandContext(t.Context(), "kubectl", "-n", services, "exec", "-i", "deploy/tonearm", "--",
		"tonearm", "user", "add", u.Email, "--users", "/data/tonearm.db", "--password-stdin")
	add.Stdin = strings.NewReader(world.Password)
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("user add: %v\n%s", err, out)
	}
	u.Login()

	long := makeLong(t)
	c := send(t, u, long)
	k.running(t, u, c.ID, 1)
	kubectl(t, "-n", services, "delete", "pod", "-l", "app.kubernetes.io/name=tonearm", "--grace-period=0", "--force")
	kubectl(t, "-n", services, "rollout", "status", "deploy/tonearm", "--timeout=3m")
	if c = u.Final(c.ID, 5*time.Minute); c.State != conversion.Done || c.Attempt != 1 {
		t.Errorf("%s after attempt %d: %+v", c.State, c.Attempt, c.Error)
	}
	if c = u.Final(send(t, u, video).ID, 2*time.Minute); c.State != conversion.Done {
		t.Fatalf("%s: %+v", c.State, c.Error)
	}
	k.mails = filepath.Join(edgeVolume, "outbox")
	waittest.Until(t, time.Minute, "the mail is in the volume", func() bool { return len(k.letters(t, c, c.MP3.ID)) > 0 })
	path := filepath.Join(t.TempDir(), "got.mp3")
	download(t, k.letters(t, c, c.MP3.ID)[0].Link(), path)
	if heard := listen(t, path); heard.seconds < 6.95 || heard.seconds > 7.05 || heard.hz < 435 || heard.hz > 445 {
		t.Errorf("%.3f s of %.0f Hz", heard.seconds, heard.hz)
	}
	// It is measured here, where no stand-in for MongoDB is in the way.
	t.Run("short files", func(t *testing.T) { k.testShortFiles(t, u, "tonearm") })
	kubectl(t, "delete", "--ignore-not-found", "--timeout=3m", "-k", overlay)
}

// edgeFor returns a folder like the repository, with the overlay for the machine
// at addr and the images that the test has built.
func edgeFor(t *testing.T, addr string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "kustomize"), os.DirFS("../../kustomize")); err != nil {
		t.Fatal(err)
	}
	bin, err := filepath.Abs("../../bin")
	if err := errors.Join(err, os.Symlink(bin, filepath.Join(dir, "bin"))); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]*strings.Replacer{
		"settings.env":       strings.NewReplacer("edge.local", addr),
		"README.md":          strings.NewReplacer("edge.local", addr),
		"kustomization.yaml": strings.NewReplacer("newTag: v0.2.0", "newTag: dev"),
	} {
		path := filepath.Join(dir, "kustomize", "overlays", "edge", name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(change.Replace(string(b))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// follow runs the blocks of an overlay's README that are for a cluster, in a
// folder that looks like the repository.
func follow(t *testing.T, dir, overlay string, env ...string) {
	t.Helper()
	blocks, err := docs.Blocks(dir, filepath.Join(dir, "kustomize", "overlays", overlay, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, b := range blocks {
		if b.Mark != docs.Cluster {
			continue
		}
		ran++
		cmd := exec.CommandContext(t.Context(), "bash", "-eu", "-o", "pipefail", "-c", b.Code)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", b, err, out)
		}
	}
	if ran == 0 {
		t.Fatalf("the README of the overlay %s has no block for a cluster", overlay)
	}
}

// edgeVolume is a folder of the node; it is removed with the node.
const edgeVolume = "/run/tonearm-edge"

// makeVolume makes a volume in place of the default StorageClass, which the
// node lacks.
func makeVolume(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(edgeVolume, 0o777); err != nil {
		t.Fatal(err)
	}
	apply(t, `
apiVersion: v1
kind: PersistentVolume
metadata: {name: edge}
spec:
  capacity: {storage: 50Gi}
  accessModes: [ReadWriteOnce]
  claimRef: {namespace: tonearm, name: data}
  persistentVolumeReclaimPolicy: Retain
  local: {path: `+edgeVolume+`}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node]}]
`)
}
