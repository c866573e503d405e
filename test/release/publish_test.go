//go:build release

package release

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"sigs.k8s.io/yaml"

	"github.com/capvet/capvet/test/registry"
)

// TestPushImage pushes an index for both platforms, with the chart's tag.
func TestPushImage(t *testing.T) {
	store, err := registry.Start(t.Context(), registry.Options{Binary: shared.registry, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	dist := t.TempDir()
	repository := store.Host() + "/capvet/capvet"
	makeTarget(t, dist, "push-image", "IMAGE="+repository, "CRANE_FLAGS=--insecure")
	digest, err := name.NewDigest(strings.TrimSpace(string(readFile(t, dist, "image"))), name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(repository+":"+strings.TrimPrefix(version, "v"), name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(tag, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := index.Digest(); err != nil || got.String() != digest.DigestStr() {
		t.Errorf("%s leads to %s, not %s: %v", tag, got, digest, err)
	}
	content, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range content.Manifests {
		image, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if got := config.Config.Labels["org.opencontainers.image.version"]; got != version {
			t.Errorf("the image's version is %q", got)
		}
		platforms = append(platforms, m.Platform.String())
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, platforms); diff != "" {
		t.Error(diff)
	}
}

// chart holds fields of Chart.yaml.
type chart struct {
	Version     string            `json:"version"`
	AppVersion  string            `json:"appVersion"`
	Annotations map[string]string `json:"annotations"`
}

// TestChartPackage: the package names the image that the release pushes, in its
// templates and to Artifact Hub.
func TestChartPackage(t *testing.T) {
	var source chart
	if err := yaml.Unmarshal(readFile(t, shared.root, "charts", "capvet", "Chart.yaml"), &source); err != nil {
		t.Fatal(err)
	}
	dist := t.TempDir()
	makeTarget(t, dist, "chart-package")
	archive := dist + "/capvet-" + source.Version + ".tgz"
	shown, err := run(t, dist, nil, shared.helm, "show", "chart", archive)
	if err != nil {
		t.Fatal(err)
	}
	var packed chart
	if err := yaml.Unmarshal([]byte(shown), &packed); err != nil {
		t.Fatal(err)
	}
	if packed.Version != packed.AppVersion {
		t.Errorf("version %s, appVersion %s: both are the release's", packed.Version, packed.AppVersion)
	}
	rendered, err := run(t, dist, nil, shared.helm, "template", "capvet", archive, "--kube-version", "1.37.2", "--show-only",
		"templates/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	image := "ghcr.io/capvet/capvet:" + packed.AppVersion
	if got := regexp.MustCompile(`(?m)^ *image: "?([^"\s]+)`).FindStringSubmatch(rendered); got == nil || got[1] != image {
		t.Errorf("the Deployment's image is %q, want %s", got, image)
	}
	var images []struct {
		Image     string   `json:"image"`
		Name      string   `json:"name"`
		Platforms []string `json:"platforms"`
	}
	if err := yaml.UnmarshalStrict([]byte(packed.Annotations["artifacthub.io/images"]), &images); err != nil || len(images) != 1 ||
		images[0].Image != image {
		t.Errorf("artifacthub.io/images: %v %v, want %s", images, err, image)
	}
	var links []struct{ Name, URL string }
	if err := yaml.UnmarshalStrict([]byte(packed.Annotations["artifacthub.io/links"]), &links); err != nil || len(links) == 0 {
		t.Errorf("artifacthub.io/links: %v %v", links, err)
	}
	for _, link := range links {
		if page, ok := strings.CutPrefix(link.URL, "https://github.com/capvet/capvet/blob/main/"); ok {
			readFile(t, shared.root, page)
		}
	}
	var changes []struct{ Kind, Description string }
	if err := yaml.UnmarshalStrict([]byte(packed.Annotations["artifacthub.io/changes"]), &changes); err != nil || len(changes) == 0 {
		t.Errorf("artifacthub.io/changes: %v %v", changes, err)
	}
	kinds := regexp.MustCompile(`^(added|changed|deprecated|removed|fixed|security)$`)
	for _, change := range changes {
		if !kinds.MatchString(change.Kind) {
			t.Errorf("artifacthub.io/changes has the kind %q", change.Kind)
		}
	}
}
