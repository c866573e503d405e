package elfcaps

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/elftest"
	"github.com/capvet/capvet/internal/report"
)

// TestLimitsMet: a limit that is met makes the verdict unknown, with a reason.
func TestLimitsMet(t *testing.T) {
	data := elftest.Fixtures(t)["amd64_two_levels_v1_O2"]
	for name, limits := range map[string]Limits{
		"code":        {Limits: elffile.Limits{CodeBytes: 1}},
		"function":    {Limits: elffile.Limits{FunctionBytes: 8}},
		"symbols":     {Limits: elffile.Limits{Symbols: 1}},
		"relocations": {Limits: elffile.Limits{Relocations: 1}},
		"work":        {Limits: elffile.Limits{Work: 1}},
		"sites":       {Sites: 1},
		"steps":       {Steps: 1},
		"sinks":       {Sinks: 1},
		"rounds":      {Rounds: 1},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Open(bytes.NewReader(data), int64(len(data)), limits)
			if err != nil {
				t.Fatal(err)
			}
			if got := f.Capset(); got.ABI != report.ABIV1 || got.Reason == "" { // v1 is worse, and has the reason as well
				unknown(t, got)
			}
		})
	}
}

func unknown(t *testing.T, got report.Capset) {
	t.Helper()
	if got.ABI != report.ABIUnknown || got.Basis != report.BasisNone || got.Reason == "" {
		t.Errorf("judged %s by %s: %q %+v", got.ABI, got.Basis, got.Reason, got.Calls)
	}
}

// TestNotAsLoaded: a file that is not read as a loader reads it, or not to its end, is unknown.
func TestNotAsLoaded(t *testing.T) {
	for name, change := range map[string]func(*edit){
		"entries of the dynamic section":  func(e *edit) { e.moveDynamic(5000, elf.DT_DEBUG) },
		"libraries":                       func(e *edit) { e.moveDynamic(300, elf.DT_NEEDED) },
		"relocations without addends":     func(e *edit) { e.replaceTag(elf.DT_STRSZ, elf.DT_RELSZ, 16) },
		"changed code":                    func(e *edit) { e.replaceTag(elf.DT_STRSZ, elf.DT_TEXTREL, 0) },
		"size of relocations":             func(e *edit) { e.replaceTag(elf.DT_RELASZ, elf.DT_RELASZ, 1<<20) },
		"number of symbols":               func(e *edit) { e.hash(10 << 20) },
		"address of program headers":      func(e *edit) { e.segment(elf.PT_PHDR, 0).Vaddr += 4096 },
		"other program headers in memory": func(e *edit) { e.segment(elf.PT_LOAD, 0).Off += 4096 },
		"size of a note":                  func(e *edit) { e.segment(elf.PT_NOTE, 0).Filesz = 1 << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdit(elftest.Fixtures(t)["amd64_ctx_struct_v3_O2"])
			e.data = append(e.data, make([]byte, 8192)...)
			change(e)
			unknown(t, capset(t, e.bytes()))
		})
	}
}

// attach loads bytes behind the program, and returns their address.
func (e *edit) attach(b []byte) uint64 {
	e.data = append(e.data, make([]byte, -len(e.data)&0xfff)...)
	const addr = 1 << 24
	i := slices.IndexFunc(e.segments, func(p elf.Prog64) bool { return p.Type == uint32(elf.PT_NOTE) })
	n := uint64(len(b))
	e.segments[i] = elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Off: uint64(len(e.data)), Vaddr: addr, Filesz: n, Memsz: n,
	}
	e.data = append(e.data, b...)
	return addr
}

// moveDynamic puts n entries before those of the dynamic section.
func (e *edit) moveDynamic(n int, tag elf.DynTag) {
	d := e.segment(elf.PT_DYNAMIC, 0)
	entry, _ := binary.Append(nil, binary.LittleEndian, []uint64{uint64(tag), 1})
	d.Vaddr = e.attach(append(bytes.Repeat(entry, n), e.data[d.Off:d.Off+d.Filesz]...))
}

// hash gives the program a hash table of n symbols.
func (e *edit) hash(n uint32) {
	table, _ := binary.Append(nil, binary.LittleEndian, []uint32{1, n})
	e.replaceTag(elf.DT_STRSZ, elf.DT_HASH, e.attach(table))
}

// TestManyCalls: of many calls the worst are reported, and their number.
func TestManyCalls(t *testing.T) {
	const calls, legacy = 3000, 10
	var code []byte
	places := rand.New(rand.NewPCG(1, 2)).Perm(calls)[:legacy]
	for i := range calls {
		one := bytes.Clone(inlineAMD64())
		if !slices.Contains(places, i) {
			copy(one[8:], []byte{0x22, 0x05, 0x08, 0x20}) // v3
		}
		one[21] += byte(i % 2) // capget, capset
		code = append(code, one...)
	}
	got := capset(t, elftest.Executable(elf.EM_X86_64, code))
	v1 := 0
	for _, c := range got.Calls {
		if c.ABI == report.ABIV1 {
			v1++
		}
	}
	if got.ABI != report.ABIV1 || len(got.Calls) != 2*maxReported || got.CallsTotal != calls || v1 != legacy {
		t.Errorf("%s with %d of %d calls, %d of v1: %q", got.ABI, len(got.Calls), got.CallsTotal, v1, got.Reason)
	}
	if !slices.IsSortedFunc(got.Calls, func(a, b report.Call) int { return bytes.Compare([]byte(a.Address), []byte(b.Address)) }) {
		t.Error("not in order of address")
	}
}

// TestPackers: programs that unpack themselves are unknown, with or without UPX's name.
func TestPackers(t *testing.T) {
	stub := bytes.Repeat([]byte{0x90}, 256)
	change := func(f func(p *elf.Prog64), more int) []byte {
		data := elftest.Executable(elf.EM_X86_64, stub)
		var p elf.Prog64
		_, _ = binary.Decode(data[64:], binary.LittleEndian, &p)
		f(&p)
		_, _ = binary.Encode(data[64:], binary.LittleEndian, p)
		return append(data, make([]byte, more)...)
	}
	for name, data := range map[string][]byte{
		"writable code":       change(func(p *elf.Prog64) { p.Flags |= uint32(elf.PF_W) }, 0),
		"most is not mapped":  change(func(*elf.Prog64) {}, 1<<16),
		"UPX's end of a file": append(change(func(*elf.Prog64) {}, 0), "UPX!\x0d\x16\x08\x07"...),
	} {
		t.Run(name, func(t *testing.T) { unknown(t, capset(t, data)) })
	}
	if got := capset(t, elftest.Executable(elf.EM_X86_64, stub)); got.ABI != report.ABINone {
		t.Errorf("the stub itself: %+v", got)
	}
}
