package main

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/capvet/capvet/test/fixtures"
	"github.com/capvet/capvet/test/testimage"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"capvet": func() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// TestScript runs testdata/script: command lines beside their output. Each
// script finds the project's own fixture executables, images of them, and in
// $REGISTRY a registry that holds those, which $TLS_REGISTRY is too: its authority
// is ca.pem, and certs.d has a hosts.toml for it.
func TestScript(t *testing.T) {
	content := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(content)
	t.Cleanup(server.Close)
	secured := httptest.NewTLSServer(content)
	secured.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs clients that do not trust it
	t.Cleanup(secured.Close)
	securedHost := strings.TrimPrefix(secured.URL, "https://")
	host := strings.TrimPrefix(server.URL, "http://")
	legacy, fixed := imageOf(t, "3.0"), imageOf(t, "3.2")
	config, err := legacy.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Config, config.History = v1.Config{}, nil
	unsigned, err := mutate.ConfigFile(legacy, config)
	if err != nil {
		t.Fatal(err)
	}
	for reference, image := range map[string]v1.Image{"haproxy:3.0": legacy, "haproxy:3.2": fixed, "app:1": unsigned} {
		ref, err := name.ParseReference(host + "/" + reference)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, image); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("REGISTRY", host)
			env.Setenv("TLS_REGISTRY", securedHost)
			env.Setenv("HOME", env.WorkDir) // without the credentials of the developer
			authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secured.Certificate().Raw})
			folder := filepath.Join(env.WorkDir, "certs.d", securedHost)
			return errors.Join(
				writeInputs(env.WorkDir, legacy, fixed),
				os.MkdirAll(folder, 0o700),
				os.WriteFile(filepath.Join(env.WorkDir, "ca.pem"), authority, 0o600),
				os.WriteFile(filepath.Join(folder, "ca.pem"), authority, 0o600),
				os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte("ca = \"ca.pem\"\n"), 0o600),
			)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "envsubst": substitute},
	})
}

// substitute replaces $REGISTRY and $TLS_REGISTRY in files: envsubst FILE...
func substitute(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: envsubst FILE...")
	}
	for _, file := range args {
		content := strings.NewReplacer("$REGISTRY", ts.Getenv("REGISTRY"), "$TLS_REGISTRY", ts.Getenv("TLS_REGISTRY")).Replace(ts.ReadFile(file))
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(content), 0o600))
	}
}

// exits runs a command and checks its exit code: exits CODE COMMAND ARG...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit interface{ ExitCode() int }
		if !errors.As(err, &exit) {
			ts.Fatalf("%s did not run: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func imageOf(t *testing.T, line string) v1.Image {
	t.Helper()
	spec, _, err := testimage.HAProxy{Line: line, Arch: "arm64", Fixtures: true}.Official(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	image, err := testimage.Build(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// writeInputs fills a script's folder.
func writeInputs(dir string, legacy, fixed v1.Image) error {
	for file, read := range map[string]func(string) ([]byte, error){"haproxy30": fixtures.HAProxy30, "haproxy32": fixtures.HAProxy32} {
		content, err := read("arm64")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "lib"), 0o700); err != nil {
		return err
	}
	for from, to := range map[string]string{"arm64_uses_libcap_library_O2": "uses-libcap", "arm64_libcap_v1_O2": "lib/libcap.so.2"} {
		content, err := os.ReadFile(filepath.Join("..", "..", "internal", "elfcaps", "testdata", "bin", from))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, to), content, 0o600); err != nil {
			return err
		}
	}
	index, err := testimage.Index(legacy)
	if err != nil {
		return err
	}
	if _, err := layout.Write(filepath.Join(dir, "layout"), index); err != nil {
		return err
	}
	if err := writeTools(filepath.Join(dir, "tools")); err != nil {
		return err
	}
	tag, err := name.NewTag("example.com/haproxy:3.2")
	if err != nil {
		return err
	}
	if err := tarball.WriteToFile(filepath.Join(dir, "image.tar"), tag, fixed); err != nil {
		return err
	}
	return syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600)
}

// writeTools writes a layout with an image that has no proxy, but a program with
// legacy calls and one with none.
func writeTools(dir string) error {
	var files []testimage.File
	for name, fixture := range map[string]string{"/usr/bin/tool": "arm64_two_levels_v1_O2", "/usr/bin/clean": "arm64_static_none_O2"} {
		content, err := os.ReadFile(filepath.Join("..", "..", "internal", "elfcaps", "testdata", "bin", fixture))
		if err != nil {
			return err
		}
		files = append(files, testimage.File{Path: name, Mode: 0o755, Data: content})
	}
	image, err := testimage.Build(context.Background(), testimage.Spec{Platform: v1.Platform{OS: "linux", Architecture: "arm64"},
		Layers: []testimage.Layer{{Files: files}}})
	if err != nil {
		return err
	}
	index, err := testimage.Index(image)
	if err != nil {
		return err
	}
	_, err = layout.Write(dir, index)
	return err
}
