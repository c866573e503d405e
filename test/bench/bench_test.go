//go:build bench

// Package bench measures the programs' run times as whole processes, beside
// baselines in the same run. It has no assertions: only the ratios mean anything.
package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/capvet/capvet/internal/inspect"
	"github.com/capvet/capvet/test/debian"
	"github.com/capvet/capvet/test/harness"
	"github.com/capvet/capvet/test/registry"
	"github.com/capvet/capvet/test/testimage"
)

// haproxy returns an image like the official ones, and the executable in it.
func haproxy(b *testing.B) (testimage.Spec, testimage.Origin) {
	b.Helper()
	spec, origin, err := testimage.HAProxy{Line: "3.0", Arch: "arm64"}.Official(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if origin.Fallback != nil {
		b.Logf("the project's own fixture stands in for HAProxy: %v", origin.Fallback)
	}
	return spec, origin
}

// BenchmarkInspect analyses HAProxy's executable.
func BenchmarkInspect(b *testing.B) {
	_, origin := haproxy(b)
	b.SetBytes(int64(len(origin.Executable)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := inspect.File(bytes.NewReader(origin.Executable), int64(len(origin.Executable)), "haproxy"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkInspectObjdump compares an analysis with the first step of a manual
// one: a disassembly of the same file, which yields no versions yet.
func BenchmarkInspectObjdump(b *testing.B) {
	_, origin := haproxy(b)
	const objdump = "aarch64-linux-gnu-objdump"
	if err := debian.Tools(b.Context(), map[string]string{objdump: "binutils-aarch64-linux-gnu"}); err != nil {
		b.Skip(err)
	}
	path := filepath.Join(b.TempDir(), "haproxy")
	if err := os.WriteFile(path, origin.Executable, 0o600); err != nil {
		b.Fatal(err)
	}
	var ours, theirs time.Duration
	for b.Loop() {
		start := time.Now()
		if _, err := inspect.File(bytes.NewReader(origin.Executable), int64(len(origin.Executable)), path); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(start)
		theirs += timed(b, objdump, "-d", path)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours.Seconds()*1000/float64(b.N), "ms/capvet")
	b.ReportMetric(theirs.Seconds()*1000/float64(b.N), "ms/objdump")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "objdump/capvet")
}

// BenchmarkInspectGo analyses a large Go program: the kube-apiserver that the
// tests run.
func BenchmarkInspectGo(b *testing.B) {
	data, err := os.ReadFile(filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kube-apiserver"))
	if err != nil {
		b.Skipf("no kube-apiserver in KUBEBUILDER_ASSETS: %v", err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := inspect.File(bytes.NewReader(data), int64(len(data)), "kube-apiserver"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkInspectBaseline hashes the same bytes: part of an analysis, and a
// measure of the machine.
func BenchmarkInspectBaseline(b *testing.B) {
	_, origin := haproxy(b)
	b.SetBytes(int64(len(origin.Executable)))
	for b.Loop() {
		sha256.Sum256(origin.Executable)
	}
}

// BenchmarkScan scans an image of about 60 MB, cold and as a whole process, and
// in turn takes the same file out of it with crane and tar.
func BenchmarkScan(b *testing.B) {
	folders, err := harness.Environment("bench", "CAPVET_REGISTRY_TOOLS")
	if err != nil {
		b.Fatal(err)
	}
	tools := folders[0]
	root, err := harness.Root()
	if err != nil {
		b.Fatal(err)
	}
	capvet, err := harness.BuildCommand(b.Context(), root, "capvet", b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	store, err := registry.Start(context.Background(), registry.Options{Binary: filepath.Join(tools, "registry"), Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	reference := push(b, store.Host())

	var ours, theirs time.Duration
	for b.Loop() {
		ours += timed(b, capvet, "scan", "--output", "json", "--plain-http", store.Host(), reference)
		theirs += timed(b, "sh", "-c", `"$1" export --insecure --platform linux/arm64 "$2" - | tar -xO usr/local/sbin/haproxy`,
			"sh", filepath.Join(tools, "crane"), reference)
	}
	b.ReportMetric(ours.Seconds()/float64(b.N), "s/capvet")
	b.ReportMetric(theirs.Seconds()/float64(b.N), "s/crane+tar")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "capvet/crane+tar")
}

func push(b *testing.B, host string) string {
	b.Helper()
	spec, _ := haproxy(b)
	noise := testimage.Layer{Files: []testimage.File{testimage.Noise("/usr/share/data", 50<<20, 1)}}
	spec.Layers = append([]testimage.Layer{noise}, spec.Layers...)
	image, err := testimage.Build(b.Context(), spec)
	if err != nil {
		b.Fatal(err)
	}
	ref, err := name.ParseReference(host+"/haproxy:3.0", name.Insecure)
	if err != nil {
		b.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		b.Fatal(err)
	}
	return ref.Name()
}

// timed runs a command to its end. capvet's code for a finding is a success.
func timed(b *testing.B, command string, args ...string) time.Duration {
	b.Helper()
	c := exec.CommandContext(b.Context(), command, args...)
	var stderr bytes.Buffer
	c.Stdout, c.Stderr = io.Discard, &stderr
	start := time.Now()
	err := c.Run()
	took := time.Since(start)
	if err != nil && c.ProcessState.ExitCode() != 3 {
		b.Fatalf("%s: %v: %s", command, err, stderr.Bytes())
	}
	return took
}
