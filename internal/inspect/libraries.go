package inspect

import (
	"fmt"
	"slices"

	"github.com/capvet/capvet/internal/elfcaps"
	"github.com/capvet/capvet/internal/report"
)

// IsLibrary reports whether a file of that name (the last element of its path)
// is a library of capability calls.
func IsLibrary(base string) bool { return elfcaps.LibraryOf(base) != "" }

// ResolveLibraries adds the verdicts on the libraries to a verdict of
// report.ABILibrary. The binary inherits the verdict of a library that uses a
// legacy version. Any other binary stays as it is. find returns the report on
// the library that the loader would load for a name such as "libcap.so.2", and
// false if it is missing.
func ResolveLibraries(b *report.Binary, find func(name string) (report.Binary, bool)) {
	c := &b.Capset
	if c.ABI != report.ABILibrary {
		return
	}
	c.Libraries = slices.Clone(c.Libraries) // other callers share the report
	for i := range c.Libraries {
		l := &c.Libraries[i]
		found, ok := find(l.Name)
		switch {
		case !ok:
			addReason(c, l.Name+" is not at hand")
			continue
		case found.Capset.ABI == report.ABIUnknown:
			l.Path, l.ABI = found.Path, report.ABIUnknown
			addReason(c, fmt.Sprintf("of %s at %s it is not known: %s", l.Name, l.Path, found.Capset.Reason))
			continue
		case found.Machine != b.Machine:
			addReason(c, fmt.Sprintf("%s is for %s", found.Path, found.Machine))
			continue
		}
		l.Path, l.ABI = found.Path, found.Capset.ABI
		text := fmt.Sprintf("%s at %s uses %s", l.Name, l.Path, l.ABI)
		switch l.ABI {
		case report.ABINone, report.ABILibrary:
			text = fmt.Sprintf("%s at %s makes no capability call of its own", l.Name, l.Path)
		case report.ABINegotiated:
			text = fmt.Sprintf("%s at %s asks the kernel which version to use", l.Name, l.Path)
		case report.ABIV1, report.ABIV2, report.ABIUnknown, report.ABIV3:
		}
		addReason(c, text)
		if l.ABI.Legacy() {
			c.ABI = report.WorseABI(c.ABI, l.ABI)
		}
	}
}
