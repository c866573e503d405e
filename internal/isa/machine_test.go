package isa

import (
	"reflect"
	"slices"
	"testing"
)

// TestKernelEntries covers all immediates and offsets.
func TestKernelEntries(t *testing.T) {
	for _, tt := range []struct {
		name  string
		entry func([]byte) bool
		code  []byte
		want  bool
	}{
		{"svc #0", arm64EntersKernel, []byte{0x01, 0x00, 0x00, 0xd4}, true},
		{"svc #0xffff", arm64EntersKernel, []byte{0, 0, 0xe1, 0xff, 0x1f, 0xd4}, true},
		{"behind another d4", arm64EntersKernel, []byte{0xd4, 0xd4, 0, 0xd4, 0x01, 0x00, 0x00, 0xd4}, true},
		{"hvc", arm64EntersKernel, []byte{0x02, 0x00, 0x00, 0xd4}, false},
		{"brk", arm64EntersKernel, []byte{0x01, 0x00, 0x20, 0xd4}, false},
		{"too short", arm64EntersKernel, []byte{0, 0, 0xd4}, false},
		{"syscall", amd64EntersKernel, []byte{0x90, 0x0f, 0x05}, true},
		{"ud2", amd64EntersKernel, []byte{0x0f, 0x0b, 0x05}, false},
	} {
		if got := tt.entry(tt.code); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

// TestMachinesAreComplete requires a value in every field of every record. Zero
// counts as a value only for the listed fields: register 0, no push by a call.
func TestMachinesAreComplete(t *testing.T) {
	zero := map[string][]string{
		"amd64": {"SyscallNumber", "Result", "TLS.Header"},
		"arm64": {"Result", "SyscallClobbers", "CallPush"},
	}
	seen := map[string]bool{}
	for _, m := range Machines() {
		if seen[m.Name] || For(m.Name) == nil {
			t.Errorf("%q is not the name of one machine", m.Name)
		}
		seen[m.Name] = true
		for _, field := range zeroFields("", reflect.ValueOf(*m)) {
			if !slices.Contains(zero[m.Name], field) {
				t.Errorf("%s has no %s", m.Name, field)
			}
		}
	}
	if m := For("riscv64"); m != nil {
		t.Errorf("a machine without a record is %s", m.Name)
	}
}

// zeroFields returns the names of zero fields, as "Outer.Inner" in nested structs.
func zeroFields(prefix string, v reflect.Value) (names []string) {
	for i := range v.NumField() {
		name, f := prefix+v.Type().Field(i).Name, v.Field(i)
		switch {
		case f.Kind() == reflect.Struct:
			names = append(names, zeroFields(name+".", f)...)
		case f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0:
			names = append(names, name)
		}
	}
	return names
}
