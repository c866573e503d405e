// Package elftest holds the ELF files that the tests of several packages share.
package elftest

import (
	"bufio"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Fixtures returns the binaries of internal/elfcaps/testdata by name, after
// checking them against SHA256SUMS. testdata/build.sh has the source and the
// command of each.
func Fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	folder := filepath.Join("..", "elfcaps", "testdata")
	sums, err := os.Open(filepath.Join(folder, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	defer sums.Close()
	out := map[string][]byte{}
	for lines := bufio.NewScanner(sums); lines.Scan(); {
		want, name, _ := strings.Cut(lines.Text(), "  ")
		data, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		if got := sha256.Sum256(data); hex.EncodeToString(got[:]) != want {
			t.Errorf("%s does not match SHA256SUMS", name)
		}
		out[filepath.Base(name)] = data
	}
	if len(out) == 0 {
		t.Fatal("no fixtures")
	}
	return out
}

// Executable returns a program whose only segment holds code, entered at its
// start.
func Executable(machine elf.Machine, code []byte) []byte {
	const start, headers = 0x400000, 64 + 56
	size := uint64(headers + len(code))
	b, _ := binary.Append(nil, binary.LittleEndian, elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Entry: start + headers, Phoff: 64, Phentsize: 56, Phnum: 1,
	})
	b, _ = binary.Append(b, binary.LittleEndian, elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: start, Filesz: size, Memsz: size,
	})
	return append(b, code...)
}

// Sparse is a file of zeros after Head.
type Sparse struct{ Head []byte }

// ReadAt implements io.ReaderAt.
func (s Sparse) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off < int64(len(s.Head)) {
		copy(b, s.Head[off:])
	}
	return len(b), nil
}

// Words returns arm64 instructions as bytes.
func Words(ws ...uint32) []byte {
	b, _ := binary.Append(nil, binary.LittleEndian, ws)
	return b
}
