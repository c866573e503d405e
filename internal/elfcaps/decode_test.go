package elfcaps

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden returns the instructions of testdata/golden/NAME.txt, which is
// NAME.s assembled and disassembled by binutils 2.40 (as, objdump -dw).
func golden(t *testing.T, name string) (code [][]byte, text []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "golden", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(line, "\t", 3)
		raw, err := hex.DecodeString(strings.ReplaceAll(parts[1], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if name == "arm64" {
			slices.Reverse(raw) // shown as a word
		}
		code = append(code, raw)
		text = append(text, strings.TrimSpace(strings.Join(parts[2:], " ")))
	}
	if len(code) < 40 {
		t.Fatalf("%d instructions", len(code))
	}
	return code, text
}

func TestDecodeLengths(t *testing.T) {
	for _, name := range []string{"amd64", "arm64"} {
		m := machineFor(name)
		code, text := golden(t, name)
		for i, raw := range code {
			var in insn
			if !m.decode(append(slices.Clone(raw), bytes.Repeat([]byte{0x90}, 16)...), 0x1000, &in) {
				t.Errorf("%s %q is not decoded", name, text[i])
			} else if in.length != len(raw) {
				t.Errorf("%s %q decodes to %d bytes, is %d", name, text[i], in.length, len(raw))
			}
			for n := range raw {
				if m.decode(raw[:n], 0x1000, &in) && in.length > n {
					t.Errorf("%s %q cut to %d bytes decodes to %d", name, text[i], n, in.length)
				}
			}
		}
	}
}

func TestDecodeFlow(t *testing.T) {
	want := map[string]flow{
		"syscall": flowSyscall, "ud2": flowStop, "ret": flowReturn, "call": flowCallIndirect, "jmp": flowJumpIndirect,
		"bnd": flowJumpIndirect, "svc": flowSyscall, "brk": flowStop, "retaa": flowReturn, "blr": flowCallIndirect,
		"br": flowJumpIndirect,
	}
	for _, name := range []string{"amd64", "arm64"} {
		code, text := golden(t, name)
		for i, raw := range code {
			var in insn
			machineFor(name).decode(raw, 0x1000, &in)
			mnemonic, _, _ := strings.Cut(strings.ReplaceAll(text[i], "\t", " "), " ")
			if in.flow != want[mnemonic] {
				t.Errorf("%s %q has flow %d, want %d", name, text[i], in.flow, want[mnemonic])
			}
		}
	}
}

// TestSteps runs short pieces of code and looks at what they leave behind.
func TestSteps(t *testing.T) {
	const amd64, arm64 = "amd64", "arm64"
	for _, c := range []struct {
		name, machine string
		code          []byte
		reg           reg
		want          value
	}{
		{"mov imm32", amd64, []byte{0xb8, 0x30, 3, 0x98, 0x19}, 0, constant(0x19980330)},
		{"mov imm32 signed", amd64, []byte{0x48, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff}, 0, constant(^uint64(0))},
		{"xor clears", amd64, []byte{0x31, 0xc0}, 0, constant(0)},
		{"lea of the stack", amd64, []byte{0x48, 0x8d, 0x74, 0x24, 8}, 6, value{kind: kindStack, off: 8}},
		{"push, pop", amd64, []byte{0x6a, 5, 0x58}, 0, constant(5)},
		{"store two words, load both", amd64, []byte{
			0xc7, 0x04, 0x24, 1, 0, 0, 0, 0xc7, 0x44, 0x24, 4, 2, 0, 0, 0, 0x48, 0x8b, 0x04, 0x24}, 0, constant(2<<32 | 1)},
		{"byte over a word", amd64, []byte{
			0xc7, 0x04, 0x24, 1, 2, 3, 4, 0xc6, 0x44, 0x24, 1, 9, 0x8b, 0x04, 0x24}, 0, constant(0x04030901)},
		{"vector store", amd64, []byte{
			0xb8, 7, 0, 0, 0, 0x66, 0x48, 0x0f, 0x6e, 0xc0, 0x0f, 0x29, 0x04, 0x24, 0x8b, 0x0c, 0x24}, 1, constant(7)},
		{"unknown upper half", amd64, []byte{0x48, 0xc1, 0xe7, 0x20, 0x48, 0x83, 0xcf, 5, 0x89, 0xf8}, 0, constant(5)},
		{"cdqe extends the sign", amd64, []byte{0xb8, 0xff, 0xff, 0xff, 0xff, 0x48, 0x98}, 0, constant(^uint64(0))},
		{"movz, movk", arm64, words(0xd2806604, 0xf2a33304), 4, constant(0x19980330)},
		{"w register cuts", arm64, words(0x92800001, 0x2a0103e0), 0, constant(0xffffffff)},
		{"add to sp", arm64, words(0x9100a3e1), 1, value{kind: kindStack, off: 40}},
		{"stp, ldr", arm64, words(0xd28000e1, 0xa9007fe1, 0xf94003e2), 2, constant(7)},
		{"bfi keeps the low half", arm64, words(0x528000a0, 0xb3607c20, 0x2a0003e1), 1, constant(5)},
		{"logical immediate", arm64, words(0xb27f03e0), 0, constant(2)},
	} {
		t.Run(c.machine+" "+c.name, func(t *testing.T) {
			data := wrapped(map[string]uint16{amd64: machineAMD64, arm64: machineARM64}[c.machine], c.code)
			f, err := Open(bytes.NewReader(data), int64(len(data)), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			a := newAnalysis(f, machineFor(c.machine))
			s := &state{}
			s.regs[a.m.sp] = value{kind: kindStack}
			for at := 0; at < len(c.code); {
				var in insn
				if !a.m.decode(c.code[at:], 0x1000, &in) {
					t.Fatalf("% x is not decoded", c.code[at:])
				}
				for i := range in.ops[:in.n] {
					a.step(s, &in.ops[i], 0x1000)
				}
				at += in.length
			}
			if diff := cmp.Diff(c.want, s.regs[c.reg], cmp.AllowUnexported(value{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
