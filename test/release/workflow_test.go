//go:build release

package release

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestWorkflows: they are sound, run no action but at a fixed commit, and call
// no make target that is not there.
func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(shared.root, ".github", "workflows", "*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d workflows: %v", len(files), err)
	}
	if _, err := run(t, shared.root, nil, shared.actionlint, append([]string{"-shellcheck=", "-pyflakes="}, files...)...); err != nil {
		t.Error(err)
	}
	uses := regexp.MustCompile(`(?m)^\s*(?:- )?uses: (\S+)(.*)$`)
	pinned := regexp.MustCompile(`^[a-z-]+/[a-z-]+@[0-9a-f]{40}$`)
	makes := regexp.MustCompile(`(?m)^\s*(?:- )?(?:run: )?make ([a-z-]+(?: [a-z-]+)*)`)
	makefile := string(readFile(t, shared.root, "Makefile"))
	for _, file := range files {
		text := string(readFile(t, file))
		for _, match := range uses.FindAllStringSubmatch(text, -1) {
			if action := match[1]; !strings.HasPrefix(action, "./") &&
				(!pinned.MatchString(action) || !regexp.MustCompile(`^ # v[0-9.]+$`).MatchString(match[2])) {
				t.Errorf("%s: %s is not pinned by commit, with its version beside it", filepath.Base(file), action)
			}
		}
		for _, match := range makes.FindAllStringSubmatch(text, -1) {
			for _, target := range strings.Fields(match[1]) {
				if !strings.Contains(makefile, "\n"+target+": ") {
					t.Errorf("%s: there is no make %s", filepath.Base(file), target)
				}
			}
		}
	}
}

// TestReleaseNotes: a version's notes are its section of the changelog; a version
// without one is an error.
func TestReleaseNotes(t *testing.T) {
	dir := t.TempDir()
	makefile := filepath.Join(shared.root, "Makefile")
	if err := os.WriteFile(filepath.Join(dir, "CHANGELOG.md"), []byte("# Changelog\n\n## [Unreleased]\n\n### Added\n\n- later\n\n"+
		"## [1.2.0] - 2030-01-02\n\n### Fixed\n\n- this\n\n## [1.1.0] - 2029-01-02\n\n- older\n\n[1.2.0]: https://example.com/1.2.0\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"MAKEFLAGS=", "MFLAGS="}
	for version, want := range map[string]string{"v1.2.0": "### Fixed\n\n- this", "v1.1.0": "- older"} {
		notes, err := run(t, dir, env, "make", "--no-print-directory", "-f", makefile, "release-notes", "VERSION="+version)
		if err != nil || strings.TrimSpace(notes) != want {
			t.Errorf("%s: %v %q", version, err, notes)
		}
	}
	if _, err := run(t, dir, env, "make", "--no-print-directory", "-f", makefile, "release-notes", "VERSION=v1.2"); err == nil ||
		!strings.Contains(err.Error(), "has nothing under [1.2]") {
		t.Errorf("v1.2: %v", err)
	}
	if _, err := run(t, shared.root, env, "make", "--no-print-directory", "release-check", "VERSION=v0.0.9"); err == nil {
		t.Error("v0.0.9 was never prepared")
	}
}

// TestChangelog: sections as Keep a Changelog has them.
func TestChangelog(t *testing.T) {
	text := string(readFile(t, shared.root, "CHANGELOG.md"))
	if !strings.Contains(text, "\n## [Unreleased]\n") {
		t.Error("there is no [Unreleased]")
	}
	release := regexp.MustCompile(`^## \[(Unreleased|[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?)\]( - [0-9]{4}-[0-9]{2}-[0-9]{2})?$`)
	kind := regexp.MustCompile(`^### (Added|Changed|Deprecated|Removed|Fixed|Security)$`)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "## ") {
			match := release.FindStringSubmatch(line)
			if match == nil || (match[1] == "Unreleased") != (match[3] == "") {
				t.Errorf("%q", line)
			} else if !strings.Contains(text, "\n["+match[1]+"]: https://") {
				t.Errorf("[%s] leads nowhere", match[1])
			}
		}
		if strings.HasPrefix(line, "### ") && !kind.MatchString(line) {
			t.Errorf("%q", line)
		}
	}
}
