package kubelaunch_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"tonearm/internal/conversion"
	"tonearm/internal/launch"
	"tonearm/internal/launch/kubelaunch"
	"tonearm/internal/launch/launchtest"
)

// against returns a launcher whose API server is h. It is for answers that a
// real server cannot be made to give.
func against(t *testing.T, h http.HandlerFunc) *kubelaunch.Launcher {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	o := options
	o.Kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: s.URL}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c"}},
		CurrentContext: "x",
	}, o.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	o.Log = slog.New(slog.DiscardHandler)
	o.Registerer = prometheus.NewRegistry()
	l, err := kubelaunch.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// refuse answers every POST with a status. Its other answers are of no use.
func refuse(code int, reason metav1.StatusReason, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
			Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
		})
	}
}

func TestStartErrors(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		busy    bool
		want    string // of an error that is not ErrBusy; '' for none
	}{
		{"there already", refuse(409, metav1.StatusReasonAlreadyExists, "exists"), false, ""},
		{"too many requests", refuse(429, metav1.StatusReasonTooManyRequests, "later"), true, ""},
		{"quota used up", refuse(403, metav1.StatusReasonForbidden, `jobs.batch "x" is forbidden: exceeded quota: jobs`), true, ""},
		{"quota contended", refuse(409, metav1.StatusReasonConflict, "Operation cannot be fulfilled on resourcequotas"), true, ""},
		{"no permission", refuse(403, metav1.StatusReasonForbidden, `User "x" cannot create resource "jobs"`), false, "cannot create"},
		{"not a Job", refuse(422, metav1.StatusReasonInvalid, "spec.template: Invalid value"), false, "Invalid value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spec := launchtest.NewSpec(launchtest.NewRef())
			err := against(t, tt.handler).Start(t.Context(), spec)
			switch {
			case errors.Is(err, launch.ErrBusy) != tt.busy,
				!tt.busy && tt.want == "" && err != nil,
				tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v", err)
			case err != nil && strings.Contains(err.Error(), spec.Token):
				t.Errorf("the token is in %v", err)
			}
		})
	}
}

func TestStartUnknownClass(t *testing.T) {
	l := against(t, func(http.ResponseWriter, *http.Request) {})
	spec := launchtest.NewSpec(launchtest.NewRef())
	spec.Class = "tape"
	if err := l.Start(t.Context(), spec); err == nil || errors.Is(err, launch.ErrBusy) {
		t.Errorf("got %v", err)
	}
}

func TestClosed(t *testing.T) {
	l := against(t, http.NotFound)
	watching := make(chan error)
	go func() { watching <- l.Watch(t.Context(), func(launch.End) {}) }()
	for range 2 {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := <-watching; err == nil {
		t.Error("Watch: no error")
	}
	if err := l.Start(t.Context(), launchtest.NewSpec(launchtest.NewRef())); err == nil {
		t.Error("Start: no error")
	}
}

func TestNewRefuses(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	small := corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("255Mi")}}
	disk := corev1.ResourceRequirements{Limits: corev1.ResourceList{
		corev1.ResourceMemory: resource.MustParse("1Gi"), corev1.ResourceEphemeralStorage: resource.MustParse("1Gi"),
	}}
	for name, change := range map[string]func(*kubelaunch.Options){
		"no namespace":  func(o *kubelaunch.Options) { o.Namespace = "" },
		"no dispatcher": func(o *kubelaunch.Options) { o.DispatcherURL = "" },
		"no classes":    func(o *kubelaunch.Options) { o.Classes = nil },
		"no log":        func(o *kubelaunch.Options) { o.Log = nil },
		"no image":      func(o *kubelaunch.Options) { o.Classes = map[conversion.Class]kubelaunch.Class{"cpu": {}} },
		"no memory limit": func(o *kubelaunch.Options) {
			o.Classes = map[conversion.Class]kubelaunch.Class{"cpu": {Image: "i"}}
		},
		"too little memory": func(o *kubelaunch.Options) {
			o.Classes = map[conversion.Class]kubelaunch.Class{"cpu": {Image: "i", Resources: small}}
		},
		"disk": func(o *kubelaunch.Options) {
			o.Classes = map[conversion.Class]kubelaunch.Class{"cpu": {Image: "i", Resources: disk}}
		},
		"negative grace":     func(o *kubelaunch.Options) { o.Grace = -1 },
		"no such kubeconfig": func(o *kubelaunch.Options) { o.Kubeconfig = "/none" },
		"not in a cluster":   func(*kubelaunch.Options) {},
	} {
		o := options
		o.Log, o.Registerer = log, prometheus.NewRegistry()
		change(&o)
		if l, err := kubelaunch.New(o); err == nil {
			l.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

// If several classes are bad, the error always names the same one.
func TestNewNamesFirstClass(t *testing.T) {
	o := options
	o.Log, o.Registerer = slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	o.Classes = map[conversion.Class]kubelaunch.Class{"gpu": {}, "cpu": {}}
	for range 20 {
		if _, err := kubelaunch.New(o); err == nil || err.Error() != "kubelaunch: class cpu: an image is required" {
			t.Fatalf("got %v", err)
		}
	}
}

// A Class can be read from what an operator writes.
func TestClassFromJSON(t *testing.T) {
	var c kubelaunch.Class
	err := json.Unmarshal([]byte(`{"image": "i", "resources": {"limits": {"memory": "1Gi", "nvidia.com/gpu": 1}},
		"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}], "startTimeout": "90s"}`), &c)
	if err != nil || c.Resources.Limits.Memory().Value() != 1<<30 || c.StartTimeout.Duration != 90*time.Second || len(c.Tolerations) != 1 {
		t.Errorf("got %+v, %v", c, err)
	}
}
