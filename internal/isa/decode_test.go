package isa

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
			slices.Reverse(raw) // objdump prints a word
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
	for _, m := range Machines() {
		name := m.Name
		code, text := golden(t, name)
		for i, raw := range code {
			var in Insn
			if !m.Decode(append(slices.Clone(raw), bytes.Repeat([]byte{0x90}, 16)...), 0x1000, &in) {
				t.Errorf("%s %q is not decoded", name, text[i])
			} else if in.Length != len(raw) {
				t.Errorf("%s %q decodes to %d bytes, is %d", name, text[i], in.Length, len(raw))
			}
			for n := range raw {
				if m.Decode(raw[:n], 0x1000, &in) && in.Length > n {
					t.Errorf("%s %q cut to %d bytes decodes to %d", name, text[i], n, in.Length)
				}
			}
		}
	}
}

func TestDecodeFlow(t *testing.T) {
	want := map[string]Flow{
		"syscall": FlowSyscall, "ud2": FlowStop, "ret": FlowReturn, "call": FlowCallIndirect, "jmp": FlowJumpIndirect,
		"bnd": FlowJumpIndirect, "svc": FlowSyscall, "brk": FlowStop, "retaa": FlowReturn, "blr": FlowCallIndirect,
		"br": FlowJumpIndirect,
	}
	for _, m := range Machines() {
		name := m.Name
		code, text := golden(t, name)
		for i, raw := range code {
			var in Insn
			m.Decode(raw, 0x1000, &in)
			mnemonic, _, _ := strings.Cut(strings.ReplaceAll(text[i], "\t", " "), " ")
			if in.Flow != want[mnemonic] {
				t.Errorf("%s %q has flow %d, want %d", name, text[i], in.Flow, want[mnemonic])
			}
		}
	}
}

// TestInsertedElement requires that an insertion into the high half of a vector
// register changes only the high half.
func TestInsertedElement(t *testing.T) {
	for element, word := range map[string]uint32{
		"b[8]": 0x4e111c20, "h[4]": 0x4e121c20, "s[2]": 0x4e141c20, "s[3]": 0x4e1c1c20, "d[1]": 0x4e181c20,
	} {
		var in Insn
		For("arm64").Decode(binary.LittleEndian.AppendUint32(nil, word), 0, &in)
		if ops := in.Ops(); len(ops) != 1 || ops[0].Dst != vectorHigh(0) {
			t.Errorf("mov v0.%s, w1 changes %v", element, ops)
		}
	}
}
