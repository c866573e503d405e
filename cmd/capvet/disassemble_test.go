package main

import (
	"strings"
	"testing"

	"github.com/capvet/capvet/internal/isa"
)

func TestDisassemble(t *testing.T) {
	tests := map[string]struct {
		machine string
		code    []byte
		want    string
	}{
		"arm64":              {"arm64", []byte{0x40, 0x0b, 0x80, 0xd2}, "mov x0, #0x5a"},
		"arm64 branch":       {"arm64", []byte{0xff, 0xff, 0xff, 0x97}, "bl 0x400ffc"},
		"arm64 page":         {"arm64", []byte{0x00, 0x00, 0x00, 0xb0}, "adrp x0, 0x402000"},
		"amd64":              {"amd64", []byte{0xbf, 0x7d, 0, 0, 0}, "mov $0x7d,%edi"},
		"amd64 call":         {"amd64", []byte{0xe8, 0xfb, 0xff, 0xff, 0xff}, "callq 0x401000"},
		"no instruction":     {"arm64", []byte{0, 0, 0, 0}, ".byte 00000000"},
		"cut short":          {"amd64", []byte{0xe8, 0xfb}, ".byte e8fb"},
		"of another machine": {"s390x", []byte{1, 2}, ".byte 0102"},
	}
	for _, m := range isa.Machines() {
		if tc := tests[m.Name]; tc.machine != m.Name || strings.HasPrefix(tc.want, ".byte") {
			t.Errorf("no instruction of %s is tested", m.Name)
		}
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := disassemble(tc.machine, tc.code, 0x401000); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// FuzzDisassemble: no bytes make the disassemblers panic.
func FuzzDisassemble(f *testing.F) {
	f.Add([]byte{0x40, 0x0b, 0x80, 0xd2}, uint64(0x400000))
	f.Add([]byte{0x62, 0xf1, 0x7c, 0x48, 0x10, 0x00}, ^uint64(0))
	f.Fuzz(func(t *testing.T, code []byte, pc uint64) {
		for _, machine := range []string{"arm64", "amd64"} {
			if disassemble(machine, code, pc) == "" {
				t.Errorf("%s: no text for % x", machine, code)
			}
		}
	})
}
