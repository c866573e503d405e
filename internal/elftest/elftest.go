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
	const headers = 64 + 56
	b := make([]byte, headers, headers+len(code))
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], uint16(elf.ET_EXEC))
	le.PutUint16(b[18:], uint16(machine))
	le.PutUint64(b[24:], 0x400000+headers)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	p := b[64:]
	le.PutUint32(p, uint32(elf.PT_LOAD))
	le.PutUint32(p[4:], uint32(elf.PF_R|elf.PF_X))
	le.PutUint64(p[16:], 0x400000)
	le.PutUint64(p[32:], uint64(headers+len(code)))
	le.PutUint64(p[40:], uint64(headers+len(code)))
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

// InlineAMD64 is a function that passes v1 to the kernel itself, and its caller:
//
//	sub $16, %rsp; movq $0x19980330, (%rsp); mov %rsp, %rdi; xor %esi, %esi
//	lea 8(%rsp), %rsi; mov $125, %eax; syscall; add $16, %rsp; ret
func InlineAMD64() []byte {
	return []byte{
		0x48, 0x83, 0xec, 0x10, 0x48, 0xc7, 0x04, 0x24, 0x30, 0x03, 0x98, 0x19, 0x48, 0x89, 0xe7,
		0x48, 0x8d, 0x74, 0x24, 0x08, 0xb8, 0x7d, 0, 0, 0, 0x0f, 0x05, 0x48, 0x83, 0xc4, 0x10, 0xc3,
		0xe8, 0xdb, 0xff, 0xff, 0xff, 0xc3,
	}
}

// InlineARM64 is the same function on arm64:
//
//	mov w1, #0x330; movk w1, #0x1998, lsl #16; stp x1, xzr, [sp, #-16]!
//	mov x0, sp; mov x1, sp; mov x8, #90; svc #0; ret
func InlineARM64() []byte {
	return Words(0x52806601, 0x72a33301, 0xa9bf7fe1, 0x910003e0, 0x910003e1, 0xd2800b48, 0xd4000001, 0xd65f03c0)
}

// Words returns arm64 instructions as bytes.
func Words(ws ...uint32) []byte {
	var b []byte
	for _, w := range ws {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}
