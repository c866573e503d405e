package inspect

import (
	"fmt"
	"slices"

	"github.com/capvet/capvet/internal/elfcaps"
	"github.com/capvet/capvet/internal/report"
)

// IsLibrary says that a file of that name (the last element of its path) is a
// library of capability calls.
func IsLibrary(base string) bool { return elfcaps.LibraryOf(base) != "" }

// Resolve adds to a verdict of ABILibrary what the libraries themselves do. A
// library that uses a legacy version makes the binary do so: its verdict becomes
// the library's. Any other binary is left alone. find returns the report on the
// library that the loader would take for a name such as "libcap.so.2", and false
// when there is none at hand.
func Resolve(b *report.Binary, find func(name string) (report.Binary, bool)) {
	c := &b.Capset
	if c.ABI != report.ABILibrary {
		return
	}
	c.Libraries = slices.Clone(c.Libraries) // others may hold this report
	for i := range c.Libraries {
		l := &c.Libraries[i]
		found, ok := find(l.Name)
		switch {
		case !ok:
			c.Reason = join(c.Reason, l.Name+" is not at hand")
			continue
		case found.Capset.ABI == report.ABIUnknown:
			l.Path, l.ABI = found.Path, report.ABIUnknown
			c.Reason = join(c.Reason, fmt.Sprintf("of %s at %s it is not known: %s", l.Name, l.Path, found.Capset.Reason))
			continue
		case found.Machine != b.Machine:
			c.Reason = join(c.Reason, fmt.Sprintf("%s is for %s", found.Path, found.Machine))
			continue
		}
		l.Path, l.ABI = found.Path, found.Capset.ABI
		said := fmt.Sprintf("%s at %s uses %s", l.Name, l.Path, l.ABI)
		switch l.ABI {
		case report.ABINone, report.ABILibrary:
			said = fmt.Sprintf("%s at %s makes no capability call of its own", l.Name, l.Path)
		case report.ABINegotiated:
			said = fmt.Sprintf("%s at %s asks the kernel which version to use", l.Name, l.Path)
		}
		c.Reason = join(c.Reason, said)
		if l.ABI.Legacy() {
			c.ABI = report.WorseABI(c.ABI, l.ABI)
		}
	}
}
