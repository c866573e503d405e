package elfcaps

import "encoding/binary"

// Numbers of the ELF format that are used here (elf(5)).
const (
	typeExec = 2
	typeDyn  = 3

	segLoad    = 1
	segDynamic = 2
	segInterp  = 3
	segNote    = 4
	segTLS     = 7
	segEhFrame = 0x6474e550

	flagExec  = 1
	flagWrite = 2

	secProgbits = 1
	secSymtab   = 2
	secNobits   = 8
	secDynsym   = 11

	secFlagWrite      = 1
	secFlagAlloc      = 2
	secFlagExec       = 4
	secFlagCompressed = 0x800

	machine386   = 3
	machineARM   = 40
	machineAMD64 = 62
	machineARM64 = 183
)

// machineNames are Go's names of ELF machines, for 64-bit and 32-bit classes.
func machineName(machine uint16, bits int, order binary.ByteOrder) string {
	little := order == binary.LittleEndian
	switch {
	case machine == machineAMD64 && bits == 64:
		return "amd64"
	case machine == machineARM64 && bits == 64 && little:
		return "arm64"
	case machine == machine386 && bits == 32:
		return "386"
	case machine == machineARM && bits == 32 && little:
		return "arm"
	case machine == 243 && bits == 64:
		return "riscv64"
	case machine == 22 && bits == 64:
		return "s390x"
	case machine == 21 && little:
		return "ppc64le"
	case machine == 21:
		return "ppc64"
	case machine == 258 && bits == 64:
		return "loong64"
	case machine == 8 && bits == 64 && little:
		return "mips64le"
	case machine == 8 && bits == 64:
		return "mips64"
	case machine == 8 && little:
		return "mipsle"
	case machine == 8:
		return "mips"
	}
	return "unknown"
}
