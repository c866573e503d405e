package inspect

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/capvet/capvet/internal/report"
)

// labels are the ABIs that a label of the corpus accepts.
var labels = map[string]report.ABI{
	"v1": report.ABIV1, "v2": report.ABIV2, "v3": report.ABIV3, "none": report.ABINone,
	"via-libcap": report.ABILibrary, "probe": report.ABINegotiated, "passthrough": report.ABIUnknown,
}

// maxUnknown is the largest share of unknown verdicts, in percent.
const maxUnknown = 3

// TestCorpus judges the labelled binaries in the folder that CAPVET_CORPUS
// names: labels.tsv, and the files in bin/.
func TestCorpus(t *testing.T) {
	folder := os.Getenv("CAPVET_CORPUS")
	if folder == "" {
		t.Skip("CAPVET_CORPUS names no folder with labels.tsv and bin/")
	}
	f, err := os.Open(filepath.Join(folder, "labels.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table := csv.NewReader(f)
	table.Comma, table.LazyQuotes = '\t', true
	rows, err := table.ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%d rows: %v", len(rows), err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	right, unknown := 0, 0
	for _, row := range rows[1:] {
		name, pkg := row[column["file"]], row[column["package"]]
		want, known := labels[row[column["expected"]]]
		if !known {
			t.Fatalf("%s: label %q", name, row[column["expected"]])
		}
		got := corpusFile(t, filepath.Join(folder, "bin", name))
		proxy := strings.HasPrefix(pkg, "haproxy") || strings.HasPrefix(pkg, "nginx") || strings.Contains(name, "haproxy")
		switch {
		case got.ABI == want || want == report.ABILibrary && got.ABI == report.ABINegotiated:
			right++
			if proxy && got.Basis != report.BasisCode {
				t.Errorf("%s: %s by %s", name, got.ABI, got.Basis)
			}
		case got.ABI == report.ABIUnknown && !proxy && want != report.ABIV1:
			unknown++
			t.Logf("%s: unknown, want %s: %s", name, want, got.Reason)
		default:
			t.Errorf("%s: judged %s, want %s: %s", name, got.ABI, want, got.Reason)
		}
	}
	t.Logf("right %d of %d, unknown %d", right, len(rows)-1, unknown)
	if unknown*100 >= maxUnknown*len(rows) {
		t.Errorf("%d of %d are unknown", unknown, len(rows)-1)
	}
}

func corpusFile(t *testing.T, path string) report.Capset {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b, err := File(f, info.Size(), path)
	if err != nil {
		t.Fatal(err)
	}
	return b.Capset
}
