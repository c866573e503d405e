//go:build release

package release

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestSBOM: each program's SBOM lists every module of its build information, and
// two SBOMs of the same program are equal.
func TestSBOM(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	makeTarget(t, first, "sbom")
	makeTarget(t, second, "sbom")
	if diff := fmt.Sprint(folder(t, first)); diff != fmt.Sprint(folder(t, second)) {
		t.Error("the lists of a second build differ")
	}
	for _, arch := range []string{"amd64", "arm64"} {
		for _, program := range []string{"webhook", "capvet"} {
			var sbom struct {
				Format     string `json:"bomFormat"`
				Components []struct {
					Name    string `json:"name"`
					Version string `json:"version"`
				} `json:"components"`
			}
			if err := json.Unmarshal(readFile(t, first, fmt.Sprintf("%s_%s_linux_%s.cdx.json", program, version, arch)), &sbom); err != nil {
				t.Fatal(err)
			}
			if sbom.Format != "CycloneDX" {
				t.Errorf("the format is %q", sbom.Format)
			}
			listed := map[string]bool{}
			for _, c := range sbom.Components {
				listed[c.Name+" "+c.Version] = true
			}
			modules, err := run(t, shared.root, []string{"GOOS=linux", "GOARCH=" + arch, "CGO_ENABLED=0"},
				"go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}",
				"./"+filepath.ToSlash(filepath.Join("cmd", program)))
			if err != nil {
				t.Fatal(err)
			}
			known := map[string]bool{}
			for module := range strings.Lines(modules) {
				if module = strings.TrimSpace(module); module != "" {
					known[module] = true
				}
			}
			if len(known) < 10 {
				t.Fatalf("go lists %d modules", len(known))
			}
			for module := range known {
				if !listed[module] {
					t.Errorf("%s for %s: %s is not listed", program, arch, module)
				}
			}
		}
	}
}
