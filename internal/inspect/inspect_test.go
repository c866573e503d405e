package inspect

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/product"
	"github.com/capvet/capvet/internal/report"
)

// fixture returns a binary of elfcaps' own test data.
func fixture(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "elfcaps", "testdata", "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// branded writes a product's text into a run of zeros in its data.
func branded(t *testing.T, data []byte, text string) []byte {
	t.Helper()
	out := bytes.Clone(data)
	// Without sections all loaded bytes count as data.
	clear(out[40:48])
	clear(out[58:64])
	at := bytes.LastIndex(out, bytes.Repeat([]byte{0}, len(text)+64))
	if at < 0 {
		t.Fatal("no room")
	}
	copy(out[at+32:], text)
	return out
}

func file(t *testing.T, data []byte) report.Binary {
	t.Helper()
	b, err := File(bytes.NewReader(data), int64(len(data)), "/usr/sbin/thing")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFile(t *testing.T) {
	b := file(t, fixture(t, "arm64_heap_v1_O2"))
	if b.Path != "/usr/sbin/thing" || len(b.SHA256) != 64 || b.Machine != "arm64" || b.Capset.ABI != report.ABIV1 ||
		b.Capset.Basis != report.BasisCode || b.Product != nil || b.Trigger != nil || b.Advice != product.OtherLegacy {
		t.Errorf("%+v", b)
	}
}

func TestProducts(t *testing.T) {
	const old = "\x003.0.11-1, released 2026/01/01\x00HAProxy\x00"
	const features = "-51DEGREES +ACCEPT4 +BACKTRACE +CPU_AFFINITY +DL +EPOLL -KQUEUE -LINUX_CAP +LINUX_SPLICE +LINUX_TPROXY -LUA +NS +POLL " +
		"+PRCTL +RT +TFO +THREAD"
	const unfound = "no capability call was found"
	for _, c := range []struct {
		name, fixture, text string
		abi                 report.ABI
		basis               report.Basis
		when                report.When
		reason, advice      string
	}{
		{
			name: "v1 at start", fixture: "amd64_ptr_to_global_v1_O2", text: old,
			abi: report.ABIV1, basis: report.BasisCode, when: report.WhenStart, advice: "3.2",
		},
		{
			name: "backported fix", fixture: "amd64_fn_table_v3_O2", text: old,
			abi: report.ABIV3, basis: report.BasisCode, when: report.WhenStart, reason: "backported fix",
		},
		{
			name: "built without", fixture: "amd64_table_only_none_O2", text: old + features,
			abi: report.ABINone, basis: report.BasisCode, reason: "built without LINUX_CAP",
		},
		{
			name: "built with", fixture: "amd64_table_only_none_O2", text: old + strings.ReplaceAll(features, "-LINUX", "+LINUX"),
			abi: report.ABIV1, basis: report.BasisVersion, when: report.WhenStart, reason: unfound, advice: "3.2",
		},
		{
			name: "a word of the list", fixture: "amd64_table_only_none_O2", text: old + "-LINUX_CAP \x00",
			abi: report.ABIV1, basis: report.BasisVersion, when: report.WhenStart, reason: unfound, advice: "3.2",
		},
		{
			name: "a word of the list beside a call", fixture: "amd64_passthrough_unknown_O2", text: old + "-LINUX_CAP \x00",
			abi: report.ABIV1, basis: report.BasisVersion, when: report.WhenStart, reason: "is known to", advice: "3.2",
		},
		{
			name: "unexpectedly none", fixture: "amd64_table_only_none_O2", text: old,
			abi: report.ABIV1, basis: report.BasisVersion, when: report.WhenStart, reason: unfound, advice: "3.2",
		},
		{
			name: "unexpectedly only a library", fixture: "amd64_uses_libcap_library_O2", text: old,
			abi: report.ABIV1, basis: report.BasisVersion, when: report.WhenStart, reason: unfound, advice: "3.2",
		},
		{
			name: "nginx without a call", fixture: "amd64_table_only_none_O2", text: "\x00nginx version: nginx/1.22.1\x00",
			abi: report.ABIV1, basis: report.BasisVersion, when: report.WhenConditional, reason: unfound, advice: "transparent",
		},
		{
			name: "old nginx without a call", fixture: "amd64_table_only_none_O2", text: "\x00nginx version: nginx/1.12.0\x00",
			abi: report.ABINone, basis: report.BasisCode,
		},
		{
			name: "unread falls back", fixture: "amd64_passthrough_unknown_O2", text: old,
			abi: report.ABIV1, basis: report.BasisVersion, when: report.WhenStart, reason: "is known to", advice: "3.2",
		},
		{
			name: "nginx", fixture: "amd64_ptr_to_global_v1_O2", text: "\x00nginx version: nginx/1.22.1\x00",
			abi: report.ABIV1, basis: report.BasisCode, when: report.WhenConditional, advice: "transparent",
		},
		{
			name: "old nginx with a call", fixture: "amd64_ptr_to_global_v1_O2", text: "\x00nginx version: nginx/1.12.0\x00",
			abi: report.ABIV1, basis: report.BasisCode, when: report.WhenConditional, reason: "backport", advice: "transparent",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := file(t, branded(t, fixture(t, c.fixture), c.text))
			if b.Product == nil || b.Product.Basis != "string" {
				t.Fatalf("not recognised: %+v", b)
			}
			if b.Capset.ABI != c.abi || b.Capset.Basis != c.basis {
				t.Errorf("judged %s by %s, want %s by %s: %s", b.Capset.ABI, b.Capset.Basis, c.abi, c.basis, b.Capset.Reason)
			}
			if !strings.Contains(b.Capset.Reason, c.reason) || c.reason == "" && b.Capset.Reason != "" {
				t.Errorf("reason %q, want %q", b.Capset.Reason, c.reason)
			}
			if !strings.Contains(b.Advice, c.advice) || c.advice == "" && b.Advice != "" {
				t.Errorf("advice %q, want %q", b.Advice, c.advice)
			}
			switch {
			case c.when == "" && b.Trigger != nil, c.when != "" && (b.Trigger == nil || b.Trigger.When != c.when):
				t.Errorf("trigger %+v, want %s", b.Trigger, c.when)
			}
		})
	}
}

// TestOtherMachine: the version decides on a machine whose code is not analysed.
func TestOtherMachine(t *testing.T) {
	data := branded(t, fixture(t, "amd64_ptr_to_global_v1_O2"), "\x003.0.11-1, released 2026/01/01\x00HAProxy\x00")
	data[18], data[19] = 243, 0 // riscv64
	b := file(t, data)
	if b.Machine != "riscv64" || b.Capset.ABI != report.ABIV1 || b.Capset.Basis != report.BasisVersion {
		t.Errorf("%s: %+v", b.Machine, b.Capset)
	}
	plain := fixture(t, "amd64_ptr_to_global_v1_O2")
	plain[18] = 243
	if b := file(t, plain); b.Capset.ABI != report.ABIUnknown || b.Capset.Reason == "" {
		t.Errorf("%+v", b.Capset)
	}
}

func TestNotELF(t *testing.T) {
	script := bytes.Repeat([]byte("#!/bin/sh\n"), 10)
	if _, err := File(bytes.NewReader(script), int64(len(script)), "/entrypoint.sh"); !errors.Is(err, elffile.ErrNotELF) ||
		!strings.Contains(err.Error(), "/entrypoint.sh") {
		t.Errorf("got %v", err)
	}
}
