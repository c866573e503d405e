package elfcaps

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/report"
)

// fuzzLimits keep one input short, so that many are tried.
var fuzzLimits = Limits{FileSize: 1 << 20, Steps: 1 << 16, Symbols: 1 << 12, Relocations: 1 << 12, Sites: 1 << 10}

// judge opens and judges data, and checks what holds for any bytes.
func judge(t *testing.T, data []byte) {
	f, err := Open(bytes.NewReader(data), int64(len(data)), fuzzLimits)
	if err != nil {
		if !errors.Is(err, ErrNotELF) && !errors.Is(err, ErrNotExecutable) && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("an error of no class: %v", err)
		}
		return
	}
	got := f.Capset()
	worst := report.ABINone
	for _, c := range got.Calls {
		worst = report.WorseABI(worst, c.ABI)
	}
	if worst != got.ABI && got.Reason == "" {
		t.Errorf("judged %s without a reason, though the worst call is %s", got.ABI, worst)
	}
	if got.ABI == report.ABIUnknown && got.Reason == "" {
		t.Error("unknown without a reason")
	}
	if again, err := Open(bytes.NewReader(data), int64(len(data)), fuzzLimits); err != nil {
		t.Errorf("opened once, not twice: %v", err)
	} else if explained, _ := again.Explain(); !cmp.Equal(got, explained) {
		t.Errorf("judged %+v, explained as %+v", got, explained)
	}
	f.Symbols("haproxy_version", "build_features")
	f.Pointer(f.c.entry)
}

// FuzzOpen gives the file reader and all that follows arbitrary bytes.
func FuzzOpen(f *testing.F) {
	for _, data := range fixtures(f) {
		f.Add(data)
	}
	f.Add([]byte("\x7fELF"))
	f.Fuzz(judge)
}

// wrapped is an executable whose only segment holds code, entered at its start.
func wrapped(machine uint16, code []byte) []byte {
	const headers = 64 + 56
	b := make([]byte, headers, headers+len(code))
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], typeExec)
	le.PutUint16(b[18:], machine)
	le.PutUint64(b[24:], 0x400000+headers)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	p := b[64:]
	le.PutUint32(p, segLoad)
	le.PutUint32(p[4:], 5)
	le.PutUint64(p[16:], 0x400000)
	le.PutUint64(p[32:], uint64(headers+len(code)))
	le.PutUint64(p[40:], uint64(headers+len(code)))
	return append(b, code...)
}

// FuzzCodeAMD64 gives the scanner, the decoder and the interpreter arbitrary
// code.
func FuzzCodeAMD64(f *testing.F) {
	f.Add(codeInlineAMD64)
	f.Add([]byte{0xe8, 0xfb, 0xff, 0xff, 0xff, 0xeb, 0xfe, 0xff, 0xe0})
	f.Fuzz(func(t *testing.T, code []byte) {
		for at := 0; at < len(code); at++ {
			var in insn
			if decodeAMD64(code[at:], 0x400000, &in) && (in.length < 1 || in.length > 15 || at+in.length > len(code)) {
				t.Fatalf("% x decodes to %d bytes of %d", code[at:], in.length, len(code)-at)
			}
		}
		judge(t, wrapped(machineAMD64, code))
	})
}

// FuzzCodeARM64 is the same for arm64.
func FuzzCodeARM64(f *testing.F) {
	f.Add(codeInlineARM64)
	f.Fuzz(func(t *testing.T, code []byte) {
		for at := 0; at+4 <= len(code); at += 4 {
			var in insn
			if decodeARM64(code[at:], 0x400000, &in) && in.length != 4 {
				t.Fatalf("% x decodes to %d bytes", code[at:at+4], in.length)
			}
		}
		judge(t, wrapped(machineARM64, code))
	})
}

// codeInlineAMD64 is a function that passes v1 by the instruction itself:
//
//	sub $16, %rsp; movq $0x19980330, (%rsp); mov %rsp, %rdi; xor %esi, %esi
//	lea 8(%rsp), %rsi; mov $125, %eax; syscall; add $16, %rsp; ret
//
// and one that calls it.
var codeInlineAMD64 = []byte{
	0x48, 0x83, 0xec, 0x10, 0x48, 0xc7, 0x04, 0x24, 0x30, 0x03, 0x98, 0x19, 0x48, 0x89, 0xe7,
	0x48, 0x8d, 0x74, 0x24, 0x08, 0xb8, 0x7d, 0, 0, 0, 0x0f, 0x05, 0x48, 0x83, 0xc4, 0x10, 0xc3,
	0xe8, 0xdb, 0xff, 0xff, 0xff, 0xc3,
}

// codeInlineARM64 is the same on arm64:
//
//	mov w1, #0x330; movk w1, #0x1998, lsl #16; stp x1, xzr, [sp, #-16]!
//	mov x0, sp; mov x1, sp; mov x8, #90; svc #0; ret
var codeInlineARM64 = words(0x52806601, 0x72a33301, 0xa9bf7fe1, 0x910003e0, 0x910003e1, 0xd2800b48, 0xd4000001, 0xd65f03c0)

func words(ws ...uint32) []byte {
	var b []byte
	for _, w := range ws {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

func TestInline(t *testing.T) {
	for name, data := range map[string][]byte{
		"amd64": wrapped(machineAMD64, codeInlineAMD64), "arm64": wrapped(machineARM64, codeInlineARM64),
	} {
		got := capset(t, data)
		if got.ABI != report.ABIV1 || len(got.Calls) != 1 || got.Calls[0].Via != "inline" || got.Calls[0].Header != "stack" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
