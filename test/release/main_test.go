//go:build release

// Package release tests the parts of a release, by the make targets of the release
// workflow: archives and krew's manifest, installed as krew does and run by the
// real kubectl; SBOMs; the image, pushed to a real registry; the chart's package;
// the workflows and the changelog.
//
// The steps that need GitHub (signatures, provenance, publishing) are not tested.
package release

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/capvet/capvet/test/harness"
)

// version is the version of the tests' release.
const version = "v0.0.0-test.1"

// environment holds the tools that all tests share.
type environment struct {
	root, kubectl, helm, registry, actionlint string
}

var shared environment

func TestMain(m *testing.M) {
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func setUp() error {
	folders := map[string]string{}
	for _, name := range []string{"KUBEBUILDER_ASSETS", "CAPVET_HELM_TOOLS", "CAPVET_REGISTRY_TOOLS", "CAPVET_RELEASE_TOOLS"} {
		if folders[name] = os.Getenv(name); folders[name] == "" {
			return errors.New(name + " is not set: run make test-release, which builds what it names")
		}
	}
	root, err := harness.Root()
	shared = environment{
		root:       root,
		kubectl:    filepath.Join(folders["KUBEBUILDER_ASSETS"], "kubectl"),
		helm:       filepath.Join(folders["CAPVET_HELM_TOOLS"], "helm"),
		registry:   filepath.Join(folders["CAPVET_REGISTRY_TOOLS"], "registry"),
		actionlint: filepath.Join(folders["CAPVET_RELEASE_TOOLS"], "actionlint"),
	}
	return err
}

// run runs a command in a folder and returns its output.
func run(t *testing.T, dir string, env []string, name string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir, command.Env = dir, append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w: %s%s", filepath.Base(name), strings.Join(args, " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String(), nil
}

// makeTarget makes a target in the repository, for the tests' version and with
// dist as the folder of results.
func makeTarget(t *testing.T, dist, target string, variables ...string) string {
	t.Helper()
	// This test may itself run under make, whose flags are not for this one.
	output, err := run(t, shared.root, []string{"MAKEFLAGS=", "MFLAGS="}, "make",
		append([]string{"--no-print-directory", target, "DIST=" + dist, "VERSION=" + version}, variables...)...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

func readFile(t *testing.T, parts ...string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return content
}
