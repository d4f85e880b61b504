//go:build !nokubernetes

package launcher

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"tonearm/dispatcher"
	"tonearm/internal/conversion"
)

func TestReadClasses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "classes.yaml")
	o := dispatcher.Options{MaxJobs: map[conversion.Class]int{conversion.CPU: 1, conversion.GPU: 1}, GPUWait: 7 * time.Minute}
	for name, tt := range map[string]struct {
		yaml  string
		start time.Duration
		gpus  int64
	}{
		"nothing said":    {"cpu: {resources: {limits: {memory: 1Gi}}}", o.GPUWait, 1},
		"a time to start": {"gpu: {startTimeout: 90s, resources: {limits: {memory: 2Gi, nvidia.com/gpu: '2'}}}", 90 * time.Second, 2},
		"resources only":  {"gpu: {resources: {limits: {memory: 2Gi, nvidia.com/gpu: '2'}}}", o.GPUWait, 2},
	} {
		if err := os.WriteFile(file, []byte(tt.yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		fl := &Flags{classes: file, image: "transcoder", gpu: "transcoder-gpu"}
		classes, err := fl.readClasses(o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		gpu, cpu := classes[conversion.GPU], classes[conversion.CPU]
		gpus := gpu.Resources.Limits["nvidia.com/gpu"]
		if gpu.StartTimeout.Duration != tt.start || gpus.Value() != tt.gpus || gpu.Image != "transcoder-gpu" {
			t.Errorf("%s: class gpu is %+v", name, gpu)
		}
		if cpu.StartTimeout.Duration != 0 || cpu.Image != "transcoder" {
			t.Errorf("%s: class cpu is %+v", name, cpu)
		}
	}

	fl := &Flags{image: "transcoder"}
	if _, err := fl.readClasses(o); err == nil {
		t.Error("class gpu without an image is accepted")
	}
	o.MaxJobs = map[conversion.Class]int{conversion.CPU: 1}
	classes, err := fl.readClasses(o)
	if _, ok := classes[conversion.GPU]; err != nil || ok {
		t.Errorf("class gpu off: %v, %v", classes, err)
	}
}
