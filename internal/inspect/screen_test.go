package inspect

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/elfcaps"
	"github.com/capvet/capvet/internal/report"
)

// TestScreen: Screen agrees with File, and returns false for libraries and for
// programs without capability calls.
func TestScreen(t *testing.T) {
	left := map[bool]int{}
	compare := func(path string, data []byte) {
		want, err := File(bytes.NewReader(data), int64(len(data)), path)
		if err != nil {
			return
		}
		got, ok, err := Screen(bytes.NewReader(data), int64(len(data)), path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		left[ok]++
		f, err := elfcaps.Open(bytes.NewReader(data), int64(len(data)), elfcaps.Limits{})
		library := err == nil && f.Facts().Shared
		switch {
		case ok:
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-File +Other):\n%s", path, diff)
			}
		case want.Capset.ABI != report.ABINone && !library:
			t.Errorf("%s is %s and was left out", path, want.Capset.ABI)
		}
	}
	for _, folder := range []string{filepath.Join("..", "elfcaps", "testdata", "bin"), filepath.Join(os.Getenv("CAPVET_CORPUS"), "bin")} {
		_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if data, err := os.ReadFile(path); err == nil {
					compare(path, data)
				}
			}
			return nil
		})
	}
	if left[true] == 0 || left[false] == 0 {
		t.Errorf("reported and left out: %v", left)
	}
}

func TestOtherIsNoProgram(t *testing.T) {
	program, err := os.ReadFile(filepath.Join("..", "elfcaps", "testdata", "bin", "arm64_two_levels_v1_O2"))
	if err != nil {
		t.Fatal(err)
	}
	object := bytes.Clone(program)
	object[16] = 1 // ET_REL
	for name, data := range map[string][]byte{"empty": nil, "script": []byte("#!/bin/sh\nexec " + strings.Repeat("x", 100)),
		"object": object} {
		if _, ok, err := Screen(bytes.NewReader(data), int64(len(data)), name); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	if _, ok, err := Screen(bytes.NewReader(program[:70]), 70, "cut"); ok || err == nil {
		t.Errorf("cut short: %v, %v", ok, err)
	}
}
