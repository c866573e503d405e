package elfcaps

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/capvet/capvet/internal/elftest"
	"github.com/capvet/capvet/internal/report"
)

// edit changes a dynamic program of v1 so that it still runs.
type edit struct {
	data     []byte
	segments []elf.Prog64
}

func newEdit(data []byte) *edit {
	e := &edit{data: bytes.Clone(data), segments: make([]elf.Prog64, data[56])}
	_, _ = binary.Decode(data[64:], binary.LittleEndian, e.segments)
	return e
}

// segment returns the nth program header of a type.
func (e *edit) segment(typ elf.ProgType, n int) *elf.Prog64 {
	for i := range e.segments {
		if e.segments[i].Type == uint32(typ) {
			if n--; n < 0 {
				return &e.segments[i]
			}
		}
	}
	panic("no such segment")
}

// insert puts a program header before another one, in the place of the last note.
func (e *edit) insert(before *elf.Prog64, p elf.Prog64) {
	at := slices.IndexFunc(e.segments, func(q elf.Prog64) bool { return q == *before })
	note := slices.IndexFunc(e.segments, func(q elf.Prog64) bool { return q.Type == uint32(elf.PT_NOTE) })
	if at > note {
		panic("no note after the segment")
	}
	e.segments = slices.Insert(slices.Delete(e.segments, note, note+1), at, p)
}

// replaceTag replaces an entry of the dynamic section that no loader needs.
func (e *edit) replaceTag(old, tag elf.DynTag, value uint64) {
	d := e.segment(elf.PT_DYNAMIC, 0)
	for b := e.data[d.Off : d.Off+d.Filesz]; len(b) > 0; b = b[16:] {
		if elf.DynTag(binary.LittleEndian.Uint64(b)) == old {
			binary.LittleEndian.PutUint64(b, uint64(tag))
			binary.LittleEndian.PutUint64(b[8:], value)
			return
		}
	}
	panic("no such tag")
}

// symbol returns the bytes of an import.
func (e *edit) symbol(name string) []byte {
	f, err := elf.NewFile(bytes.NewReader(e.data))
	if err != nil {
		panic(err)
	}
	symbols, _ := f.DynamicSymbols()
	i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == name })
	return e.data[f.Section(".dynsym").Offset+uint64(i+1)*24:][:24]
}

func (e *edit) bytes() []byte {
	b, _ := binary.Append(nil, binary.LittleEndian, e.segments)
	copy(e.data[64:], b)
	return e.data
}

// loaderEdits change parts of a program that the kernel and the dynamic loader do not read, or
// read otherwise than tools do.
func loaderEdits() map[string]func(*edit) {
	return map[string]func(*edit){
		"unchanged":                  func(*edit) {},
		"dynamic section by address": func(e *edit) { e.segment(elf.PT_DYNAMIC, 0).Off = 0 },
		"offset of dynamic section":  func(e *edit) { e.segment(elf.PT_DYNAMIC, 0).Off = 1 << 40 },
		"size of dynamic section":    func(e *edit) { e.segment(elf.PT_DYNAMIC, 0).Filesz = 16 },
		"last of two dynamic sections": func(e *edit) {
			d := e.segment(elf.PT_DYNAMIC, 0)
			fake := *d
			fake.Off, fake.Vaddr, fake.Filesz = fake.Off+fake.Filesz-16, fake.Vaddr+fake.Filesz-16, 16
			e.insert(d, fake)
		},
		"size of string table": func(e *edit) { e.replaceTag(elf.DT_STRSZ, elf.DT_STRSZ, 1) },
		"last of two tags":     func(e *edit) { e.replaceTag(elf.DT_STRSZ, elf.DT_PLTRELSZ, 0) },
		"defined import": func(e *edit) {
			s := e.symbol("syscall")
			binary.LittleEndian.PutUint16(s[6:], 1)
			binary.LittleEndian.PutUint64(s[8:], binary.LittleEndian.Uint64(e.data[24:]))
		},
		"later segment over an earlier one": func(e *edit) {
			text := e.segment(elf.PT_LOAD, 0)
			under := *text
			under.Off, under.Filesz, under.Memsz = 0x1000, 0x100, 0x1000
			e.insert(text, under)
		},
		"code behind the segment in its page": func(e *edit) {
			text := e.segment(elf.PT_LOAD, 0)
			text.Filesz, text.Memsz = 0x400, 0x400
		},
		"class and byte order": func(e *edit) {
			e.data[elf.EI_CLASS], e.data[elf.EI_DATA] = byte(elf.ELFCLASS32), byte(elf.ELFDATA2MSB)
		},
		"sections without code": func(e *edit) {
			entry := binary.LittleEndian.Uint64(e.data[24:])
			e.section(".text", func(s *elf.Section64) { s.Addr, s.Off, s.Size = entry, entry, 16 })
		},
		"sections with code as data beside the entry": func(e *edit) {
			entry := binary.LittleEndian.Uint64(e.data[24:])
			e.section(".text", func(s *elf.Section64) { s.Flags &^= uint64(elf.SHF_EXECINSTR) })
			e.section(".init", func(s *elf.Section64) { s.Addr, s.Off, s.Size = entry, entry, 16 })
		},
		"sections with code as data": func(e *edit) {
			e.section(".text", func(s *elf.Section64) { s.Flags &^= uint64(elf.SHF_EXECINSTR) })
		},
		"sections of no PLT": func(e *edit) {
			for _, name := range []string{".plt", ".plt.got"} {
				e.section(name, func(s *elf.Section64) { s.Name = 0 })
			}
		},
	}
}

// section changes a section header.
func (e *edit) section(name string, change func(*elf.Section64)) {
	f, err := elf.NewFile(bytes.NewReader(e.data))
	if err != nil {
		panic(err)
	}
	i := slices.IndexFunc(f.Sections, func(s *elf.Section) bool { return s.Name == name })
	if i < 0 {
		return
	}
	at := e.data[binary.LittleEndian.Uint64(e.data[40:])+uint64(i)*64:]
	var s elf.Section64
	_, _ = binary.Decode(at, binary.LittleEndian, &s)
	change(&s)
	_, _ = binary.Encode(at, binary.LittleEndian, s)
}

// TestAsLoaded: edits of what no loader reads change no verdict. On amd64 the edited programs run.
func TestAsLoaded(t *testing.T) {
	for _, name := range []string{"amd64_heap_v1_O2", "amd64_two_levels_v1_O2", "arm64_heap_v1_O2", "arm64_two_levels_v1_O2"} {
		data := elftest.Fixtures(t)[name]
		for title, change := range loaderEdits() {
			t.Run(name+"/"+title, func(t *testing.T) {
				e := newEdit(data)
				change(e)
				edited := e.bytes()
				if got := capset(t, edited); got.ABI != report.ABIV1 {
					t.Errorf("judged %s: %q %+v", got.ABI, got.Reason, got.Calls)
				}
				bare := bytes.Clone(edited)
				clear(bare[40:48]) // e_shoff
				clear(bare[58:64]) // e_shentsize, e_shnum, e_shstrndx
				if got := capset(t, bare); got.ABI != report.ABIV1 {
					t.Errorf("judged %s without section headers: %q %+v", got.ABI, got.Reason, got.Calls)
				}
				if runtime.GOARCH+"_" == name[:len(runtime.GOARCH)+1] {
					run(t, edited)
				}
			})
		}
	}
}

// run executes a program, if this machine has its loader.
func run(t *testing.T, data []byte) {
	t.Helper()
	loader := map[string]string{"amd64": "/lib64/ld-linux-x86-64.so.2", "arm64": "/lib/ld-linux-aarch64.so.1"}[runtime.GOARCH]
	if _, err := os.Stat(loader); err != nil || runtime.GOOS != "linux" {
		return
	}
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, data, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), name).CombinedOutput(); err != nil {
		t.Errorf("the program does not run: %v %s", err, out)
	}
}
