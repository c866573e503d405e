package elffile

import (
	"debug/elf"
	"encoding/binary"

	"github.com/capvet/capvet/internal/isa"
)

// goarch returns the GOARCH name of an ELF machine, or "unknown".
func goarch(machine elf.Machine, bits int, order binary.ByteOrder) string {
	little := order == binary.LittleEndian
	for _, m := range isa.Machines() {
		if m.ELF == machine && bits == 64 && little {
			return m.Name
		}
	}
	suffix := ""
	if little {
		suffix = "le"
	}
	switch {
	case machine == elf.EM_386 && bits == 32:
		return "386"
	case machine == elf.EM_ARM && bits == 32 && little:
		return "arm"
	case machine == elf.EM_RISCV && bits == 64:
		return "riscv64"
	case machine == elf.EM_S390 && bits == 64:
		return "s390x"
	case machine == elf.EM_PPC64:
		return "ppc64" + suffix
	case machine == elf.EM_LOONGARCH && bits == 64:
		return "loong64"
	case machine == elf.EM_MIPS && bits == 64:
		return "mips64" + suffix
	case machine == elf.EM_MIPS:
		return "mips" + suffix
	}
	return "unknown"
}
