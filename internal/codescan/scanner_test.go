package codescan

import (
	"bytes"
	"testing"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/elftest"
	"github.com/capvet/capvet/internal/isa"
)

// TestScanners: every machine has a scanner, and it finds the machine's own kernel
// entry.
func TestScanners(t *testing.T) {
	entries := map[string][]byte{"amd64": {0x0f, 0x05}, "arm64": elftest.Words(0xd4000001)}
	for _, m := range isa.Machines() {
		data := elftest.Executable(m.ELF, entries[m.Name])
		f, err := elffile.Open(bytes.NewReader(data), int64(len(data)), elffile.Limits{}, func(string) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		p := NewProgram(f, 8)
		q := p.NewQuery()
		q.Entries = true
		if newScanner(p, q) == nil {
			t.Errorf("%s has no scanner", m.Name)
		} else if got := p.Scan(q, f.Code).Entries; len(got) != 1 || got[0] != 0x400000+64+56 {
			t.Errorf("%s: kernel entries at %#x", m.Name, got)
		}
	}
}
