package elfcaps

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/capvet/capvet/internal/absint"
	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/elftest"
	"github.com/capvet/capvet/internal/report"
)

// TestTooMuchCode: a segment of a gigabyte holds more code than the limit, so that
// the verdict is unknown, not none.
func TestTooMuchCode(t *testing.T) {
	head := elftest.Executable(elf.EM_X86_64, nil)
	binary.LittleEndian.PutUint64(head[64+32:], 1<<30)
	binary.LittleEndian.PutUint64(head[64+40:], 1<<30)
	f, err := Open(elftest.Sparse{Head: head}, 1<<30, Limits{Limits: elffile.Limits{CodeBytes: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Capset(); got.ABI != report.ABIUnknown || got.Reason == "" {
		t.Errorf("judged %+v", got)
	}
}

// TestOtherMachine: identity, and unknown with the reason.
func TestOtherMachine(t *testing.T) {
	f, err := Open(bytes.NewReader(elftest.Executable(elf.EM_RISCV, nil)), int64(len(elftest.Executable(elf.EM_RISCV, nil))), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got := f.Capset()
	if f.Facts().Machine != "riscv64" || got.ABI != report.ABIUnknown || got.Basis != report.BasisNone || got.Reason == "" {
		t.Errorf("%s: %+v", f.Facts().Machine, got)
	}
}

// TestDataIsNotCode: bytes that would be a call stand in data and are not one.
func TestDataIsNotCode(t *testing.T) {
	data := elftest.Executable(elf.EM_X86_64, []byte{0xc3})
	binary.LittleEndian.PutUint32(data[64+4:], 4) // readable only
	data = append(data, inlineAMD64()...)
	binary.LittleEndian.PutUint64(data[64+32:], uint64(len(data)))
	binary.LittleEndian.PutUint64(data[64+40:], uint64(len(data)))
	if got := capset(t, data); got.ABI != report.ABINone || len(got.Calls) != 0 {
		t.Errorf("%+v", got)
	}
}

// TestPacked: what UPX packed is not judged by the code that unpacks it.
func TestPacked(t *testing.T) {
	data := elftest.Executable(elf.EM_AARCH64, append([]byte("sum!UPX!"), inlineARM64()...))
	if got := capset(t, data); got.ABI != report.ABIUnknown || got.Basis != report.BasisNone || !strings.Contains(got.Reason, "upx -d") {
		t.Errorf("%+v", got)
	}
}

// TestSameReport: of several headers that one call may pass, the report names the
// same one each time.
func TestSameReport(t *testing.T) {
	data := elftest.Fixtures(t)["amd64_heap_v1_O2"]
	f, err := Open(bytes.NewReader(data), int64(len(data)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	headers := func() (out []uint64) {
		a := newAnalysis(f)
		for i := range uint64(6) {
			args := absint.Arguments{Header: absint.Const(i), Number: absint.Const(a.Machine.Capset)}
			site := absint.CallSite{PC: 0x1000, Sink: a.Inline, Arguments: args}
			a.SinksAt[i] = []*absint.Sink{{Target: i, Arguments: absint.Arguments{Number: args.Number}, Site: site}}
			a.addressTaken[i] = true
		}
		a.reportUncalled()
		for _, x := range a.found {
			out = append(out, uint64(x.Header.Off))
		}
		return out
	}
	for range 20 {
		if got := headers(); !slices.Equal(got, []uint64{0, 1, 2, 3, 4, 5}) {
			t.Fatalf("found the headers %v", got)
		}
	}
}
