package report

import "slices"

// ABI is the version of the kernel's capability header that a program passes to capget(2) and
// capset(2), or the origin of that version. The header versions are _LINUX_CAPABILITY_VERSION_1
// to _3 of linux/capability.h.
type ABI string

// ABIs, the worst first.
const (
	ABIV1         ABI = "v1"         // legacy, 32-bit sets; the kernel logs it
	ABIV2         ABI = "v2"         // deprecated; the kernel logs it
	ABIUnknown    ABI = "unknown"    // there may be calls, their version could not be read
	ABINegotiated ABI = "negotiated" // asks the kernel for its preferred version first
	ABIV3         ABI = "v3"         // current
	ABILibrary    ABI = "library"    // only through libcap or libcap-ng
	ABINone       ABI = "none"       // no capability calls
)

// abisWorstFirst is the order of precedence among several call sites.
var abisWorstFirst = [...]ABI{ABIV1, ABIV2, ABIUnknown, ABINegotiated, ABIV3, ABILibrary, ABINone}

// WorseABI returns the worse of a and b. Other values rank as ABIUnknown.
func WorseABI(a, b ABI) ABI {
	if rank(b) < rank(a) {
		return b
	}
	return a
}

func rank(a ABI) int {
	if i := slices.Index(abisWorstFirst[:], a); i >= 0 {
		return i
	}
	return rank(ABIUnknown)
}

// Legacy reports whether the kernel logs a warning for this ABI.
func (a ABI) Legacy() bool { return a == ABIV1 || a == ABIV2 }

// Header versions of linux/capability.h.
const (
	HeaderV1 uint32 = 0x19980330
	HeaderV2 uint32 = 0x20071026
	HeaderV3 uint32 = 0x20080522
)

// ABIOfHeader returns the ABI of a header version, ABIUnknown if the kernel does not know it.
func ABIOfHeader(version uint32) ABI {
	switch version {
	case HeaderV1:
		return ABIV1
	case HeaderV2:
		return ABIV2
	case HeaderV3:
		return ABIV3
	}
	return ABIUnknown
}

// Basis is the evidence of a verdict.
type Basis string

// Bases.
const (
	BasisCode    Basis = "code"    // call sites and the headers they pass
	BasisData    Basis = "data"    // a header object in the file
	BasisVersion Basis = "version" // a product's known range
	BasisNone    Basis = "none"
)

// When is the time at which a binary's calls run.
type When string

// Times.
const (
	WhenStart       When = "start"       // at every start
	WhenConditional When = "conditional" // only with some configuration
	WhenUnknown     When = "unknown"
)

// Libc is a C library.
type Libc string

// C libraries.
const (
	LibcGlibc   Libc = "glibc"
	LibcMusl    Libc = "musl"
	LibcNone    Libc = "none" // no C library, for example a static Go program
	LibcUnknown Libc = "unknown"
)

// Linkage is how an executable is linked.
type Linkage string

// Linkages.
const (
	LinkageDynamic Linkage = "dynamic"
	LinkageStatic  Linkage = "static"
)
