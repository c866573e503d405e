package imagescan

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/capvet/capvet/internal/report"
)

// TestHinted: layers are read only after a hint at a known product.
func TestHinted(t *testing.T) {
	s := newServer(t)
	for i, tt := range []struct {
		name       string
		repository string
		words      []string
		config     v1.Config
		history    []v1.History
		want       []string
	}{
		{name: "nothing", repository: "app:1", config: v1.Config{Entrypoint: []string{"/run"}, Cmd: []string{"a"}, Env: []string{"PATH=/bin"},
			Labels: map[string]string{"a": "b"}}, history: []v1.History{{CreatedBy: "RUN make", Comment: "c"}}, want: []string{"gap not-read"}},
		{name: "repository", repository: "x/proxyd:1", want: []string{"/haproxy=v1"}},
		{name: "tag", repository: "app:proxyd-2", want: []string{"/haproxy=v1"}},
		{name: "command", repository: "app:1", words: []string{"sh", "-c", "exec proxyd"}, want: []string{"/haproxy=v1"}},
		{name: "entry point", repository: "app:1", config: v1.Config{Entrypoint: []string{"/sbin/proxyd"}}, want: []string{"/haproxy=v1"}},
		{name: "arguments", repository: "app:1", config: v1.Config{Cmd: []string{"proxyd"}}, want: []string{"/haproxy=v1"}},
		{name: "environment", repository: "app:1", config: v1.Config{Env: []string{"PROXYD_VERSION=1"}}, want: []string{"/haproxy=v1"}},
		{name: "label", repository: "app:1", config: v1.Config{Labels: map[string]string{"title": "proxyd"}}, want: []string{"/haproxy=v1"}},
		{name: "label's name", repository: "app:1", config: v1.Config{Labels: map[string]string{"proxyd.version": "1"}},
			want: []string{"/haproxy=v1"}},
		{name: "history", repository: "app:1", history: []v1.History{{CreatedBy: "RUN apt-get install proxyd"}}, want: []string{"/haproxy=v1"}},
		{name: "comment", repository: "app:1", history: []v1.History{{Comment: "proxyd"}}, want: []string{"/haproxy=v1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ref := s.push(t, fmt.Sprintf("hinted%d/%s", i, tt.repository), configured(t, tt.config, tt.history))
			r, err := newScanner(t, s, nil, hinting).Scan(t.Context(),
				Request{Reference: ref, Platform: "linux/arm64", Hinted: true, Words: tt.words})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, binaries(r)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if unread := tt.want[0] == "gap not-read"; r.Complete == unread || !strings.Contains(r.Image, "@sha256:") {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// hinting recognises one product in any case of letters.
func hinting(o *setup) {
	o.Inspector.IsHint = func(text string) bool { return strings.Contains(strings.ToLower(text), "proxyd") }
}

// configured returns an image with a legacy executable and the given configuration.
func configured(t *testing.T, config v1.Config, history []v1.History) v1.Image {
	t.Helper()
	image := imageOf(t, "arm64", gzipped(archive("haproxy", "v1")))
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.Config, file.History = config, history
	if image, err = mutate.ConfigFile(image, file); err != nil {
		t.Fatal(err)
	}
	return image
}

// TestHintedCosts: without a hint a scan reads the manifest and the configuration
// only, once. A request for the whole image still reads its layers.
func TestHintedCosts(t *testing.T) {
	s := newServer(t)
	image := configured(t, v1.Config{}, nil)
	ref := s.push(t, "app:1", image)
	configuration, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	var blobs []string
	s.fail(func(_ http.ResponseWriter, r *http.Request) bool {
		if _, digest, ok := strings.Cut(r.URL.Path, "/blobs/"); ok {
			blobs = append(blobs, digest)
		}
		return false
	})
	scanner := newScanner(t, s, nil, func(o *setup) {
		hinting(o)
		o.ResolutionTTL = 1 << 40
	})
	hinted := Request{Reference: ref, Platform: "linux/arm64", Hinted: true}
	for range 3 {
		r, err := scanner.Scan(t.Context(), hinted)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"gap not-read"}, binaries(r)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff([]string{configuration.String()}, blobs); diff != "" {
		t.Errorf("blobs (-want +got):\n%s", diff)
	}
	whole := hinted
	whole.Hinted = false
	r, err := scanner.Scan(t.Context(), whole)
	if diff := cmp.Diff([]string{"/haproxy=v1"}, binaries(r)); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	// The report for another request does not change the answer.
	r, err = scanner.Scan(t.Context(), hinted)
	if diff := cmp.Diff([]string{"gap not-read"}, binaries(r)); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestHintedUnreadable: an unreadable configuration is an error, not the lack of a
// hint.
func TestHintedUnreadable(t *testing.T) {
	s := newServer(t)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: configured(t, v1.Config{}, nil),
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	ref := s.push(t, "app:1", index)
	s.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		http.Error(w, "no", http.StatusNotFound)
		return true
	})
	_, err := newScanner(t, s, nil, hinting).Scan(t.Context(), Request{Reference: ref, Platform: "linux/arm64", Hinted: true})
	var classed *Error
	if !errors.As(err, &classed) || classed.Class != report.FailureNotFound || !strings.Contains(err.Error(), "image configuration") {
		t.Errorf("got %v", err)
	}
}
