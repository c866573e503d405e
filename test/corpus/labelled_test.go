//go:build corpus

package corpus

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/capvet/capvet/internal/inspect"
	"github.com/capvet/capvet/internal/report"
)

// labelled is the path of an optional corpus beside the repository. Its labels.tsv
// gives the expected verdict for each file of binaries.tar.zst, and the evidence.
const labelled = "../../../shared/corpus"

// accepted are the verdicts that a label allows.
var accepted = map[string]report.ABI{
	"v1": report.ABIV1, "v2": report.ABIV2, "v3": report.ABIV3, "none": report.ABINone,
	"via-libcap": report.ABILibrary, "probe": report.ABINegotiated, "passthrough": report.ABIUnknown,
}

// maxUnknown is the share of files whose verdict may be unknown, in percent.
const maxUnknown = 3

// TestLabelled scores a corpus: no false v1, no missed v1, no false none, a
// bounded share of unknown, and for every proxy the right verdict from its code.
func TestLabelled(t *testing.T) {
	want := labels(t)
	archive, err := os.Open(filepath.Join(labelled, "binaries.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	unpacked, err := zstd.NewReader(archive, zstd.WithDecoderMaxWindow(1<<27))
	if err != nil {
		t.Fatal(err)
	}
	defer unpacked.Close()
	right, unknown, seen := 0, 0, 0
	for files := tar.NewReader(unpacked); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := path.Base(header.Name)
		label, ok := want[name]
		if !ok || header.Typeflag != tar.TypeReg {
			continue
		}
		seen++
		content, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		b, err := inspect.File(bytes.NewReader(content), header.Size, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		unscreened(t, name, content, b)
		got := b.Capset.ABI
		if got == label {
			right++
		} else {
			t.Logf("%s: got %s by %s, labelled %s", name, got, b.Capset.Basis, label)
		}
		if got == report.ABIUnknown && label != got {
			unknown++
		}
		if (got == report.ABIV1) != (label == report.ABIV1) || (got == report.ABINone && label != got) {
			t.Errorf("%s: got %s by %s, labelled %s", name, got, b.Capset.Basis, label)
		}
		isProxy := strings.Contains(name, "haproxy") || strings.Contains(name, "nginx")
		if isProxy && (got != label || (got == report.ABIV1 && b.Capset.Basis != report.BasisCode)) {
			t.Errorf("proxy %s: got %s by %s, labelled %s", name, got, b.Capset.Basis, label)
		}
	}
	t.Logf("%d of %d right, %d unknown", right, seen, unknown)
	if seen != len(want) {
		t.Errorf("the archive has %d of %d labelled files", seen, len(want))
	}
	if unknown*100 > seen*maxUnknown {
		t.Errorf("%d of %d are unknown, over %d %%", unknown, seen, maxUnknown)
	}
}

// labels reads labels.tsv. The corpus is not part of the repository; the test is
// skipped without it.
func labels(t *testing.T) map[string]report.ABI {
	t.Helper()
	file, err := os.Open(filepath.Join(labelled, "labels.tsv"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("there is no labelled corpus at %s", labelled)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want := map[string]report.ABI{}
	lines := bufio.NewScanner(file)
	for first := true; lines.Scan(); first = false {
		fields := strings.Split(lines.Text(), "\t")
		if first || len(fields) < 7 {
			continue
		}
		abi, ok := accepted[fields[6]]
		if !ok {
			t.Fatalf("labels.tsv: %s is labelled %q, which is no label", fields[0], fields[6])
		}
		want[fields[0]] = abi
	}
	return want
}
