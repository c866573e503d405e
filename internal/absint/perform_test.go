package absint

import (
	"bytes"
	"debug/elf"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/elftest"
	"github.com/capvet/capvet/internal/isa"
)

// TestSteps runs short pieces of code and looks at what they leave behind.
func TestSteps(t *testing.T) {
	const amd64, arm64 = "amd64", "arm64"
	for _, c := range []struct {
		name, machine string
		code          []byte
		reg           isa.Reg
		want          Value
	}{
		{"mov imm32", amd64, []byte{0xb8, 0x30, 3, 0x98, 0x19}, 0, Const(0x19980330)},
		{"mov imm32 signed", amd64, []byte{0x48, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff}, 0, Const(^uint64(0))},
		{"xor clears", amd64, []byte{0x31, 0xc0}, 0, Const(0)},
		{"lea of the stack", amd64, []byte{0x48, 0x8d, 0x74, 0x24, 8}, 6, Value{Kind: KindStack, Off: 8}},
		{"push, pop", amd64, []byte{0x6a, 5, 0x58}, 0, Const(5)},
		{"store two words, load both", amd64, []byte{
			0xc7, 0x04, 0x24, 1, 0, 0, 0, 0xc7, 0x44, 0x24, 4, 2, 0, 0, 0, 0x48, 0x8b, 0x04, 0x24}, 0, Const(2<<32 | 1)},
		{"byte over a word", amd64, []byte{
			0xc7, 0x04, 0x24, 1, 2, 3, 4, 0xc6, 0x44, 0x24, 1, 9, 0x8b, 0x04, 0x24}, 0, Const(0x04030901)},
		{"vector store", amd64, []byte{
			0xb8, 7, 0, 0, 0, 0x66, 0x48, 0x0f, 0x6e, 0xc0, 0x0f, 0x29, 0x04, 0x24, 0x8b, 0x0c, 0x24}, 1, Const(7)},
		{"unknown upper half", amd64, []byte{0x48, 0xc1, 0xe7, 0x20, 0x48, 0x83, 0xcf, 5, 0x89, 0xf8}, 0, Const(5)},
		{"cdqe extends the sign", amd64, []byte{0xb8, 0xff, 0xff, 0xff, 0xff, 0x48, 0x98}, 0, Const(^uint64(0))},
		{"movz, movk", arm64, elftest.Words(0xd2806604, 0xf2a33304), 4, Const(0x19980330)},
		{"w register cuts", arm64, elftest.Words(0x92800001, 0x2a0103e0), 0, Const(0xffffffff)},
		{"add to sp", arm64, elftest.Words(0x9100a3e1), 1, Value{Kind: KindStack, Off: 40}},
		{"stp, ldr", arm64, elftest.Words(0xd28000e1, 0xa9007fe1, 0xf94003e2), 2, Const(7)},
		{"bfi keeps the low half", arm64, elftest.Words(0x528000a0, 0xb3607c20, 0x2a0003e1), 1, Const(5)},
		{"logical immediate", arm64, elftest.Words(0xb27f03e0), 0, Const(2)},
	} {
		t.Run(c.machine+" "+c.name, func(t *testing.T) {
			data := elftest.Executable(map[string]elf.Machine{amd64: elf.EM_X86_64, arm64: elf.EM_AARCH64}[c.machine], c.code)
			f, err := elffile.Open(bytes.NewReader(data), int64(len(data)), elffile.Limits{}, Models)
			if err != nil {
				t.Fatal(err)
			}
			a := New(f, nil, nil, len(c.code))
			s := &state{}
			s.regs[a.Machine.SP] = Value{Kind: KindStack}
			for at := 0; at < len(c.code); {
				var in isa.Insn
				if !a.Machine.Decode(c.code[at:], 0x1000, &in) {
					t.Fatalf("% x is not decoded", c.code[at:])
				}
				ops := in.Ops()
				for i := range ops {
					a.step(s, &ops[i], 0x1000)
				}
				at += in.Length
			}
			if diff := cmp.Diff(c.want, s.regs[c.reg], cmp.AllowUnexported(Value{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
