// Package product holds what is known of the programs that capvet looks for:
// how to recognise them, which versions make which capability calls, when those
// run and what to tell people. One file a product, as data.
//
// It is not for reading files: package inspect brings what it found. What it is
// given comes from untrusted images and is only compared, never kept.
package product

import (
	"strings"

	"github.com/capvet/capvet/internal/report"
)

// Product is one known program.
type Product struct {
	// Name is the lower-case name.
	Name string
	// Executables are base names of the program's file.
	Executables []string
	// Hints are lower-case words; an image reference or configuration that
	// contains one hints at the product. Words count only when they stand alone.
	Hints, Words []string
	// VersionSymbols are character arrays that hold the version.
	VersionSymbols []string
	// Markers are texts in the program's data beside its version.
	Markers []Marker
	// Feature is the word that, after a plus or minus sign, the program's list
	// of build features gives to capability calls; empty if it has no such list.
	Feature string
	// HeaderSymbol is an exported header object, empty if there is none.
	HeaderSymbol string
	// Functions make the calls.
	Functions []string
	// Ranges are in ascending order of version and leave nothing out.
	Ranges []Range
	// Trigger says when the calls run.
	Trigger func(Found) report.Trigger
	// Legacy is the advice for a legacy ABI, in one or two sentences.
	Legacy func(Found) string
}

// OtherLegacy is the advice for a program that is no known product. Linux knows
// version 3 since 2.6.26.
const OtherLegacy = "Harmless: one line in the kernel's log per boot, nothing else changes. " +
	"Its maintainers can fix it by passing version 3 of the header, which every kernel of today knows."

// Marker is a text beside a version.
type Marker struct {
	// Text stands right before the version, or right after it when After is set.
	Text  string
	After bool
	// Also must stand in the data as well; empty for nothing.
	Also string
}

// Range is a run of versions: from From on, before Before. Empty means no end.
type Range struct {
	From, Before string
	ABI          report.ABI
}

// Found is what was found in one binary.
type Found struct {
	Version string
	Calls   []report.Call
	// Functions are those of Product.Functions that the file defines.
	Functions []string
}

// calls says that some call is of this system call.
func (f Found) calls(syscall string) bool {
	for _, c := range f.Calls {
		if c.Syscall == syscall {
			return true
		}
	}
	return false
}

func (f Found) has(function string) bool {
	for _, n := range f.Functions {
		if n == function {
			return true
		}
	}
	for _, c := range f.Calls {
		if c.Function == function {
			return true
		}
	}
	return false
}

// All returns every known product, more specific ones before what they derive
// from.
func All() []Product {
	return []Product{haproxy(), openresty(), tengine(), angie(), freenginx(), nginx()}
}

// IsExecutable reports whether base, the last element of a path, is the file
// name of a known product's executable.
func IsExecutable(base string) bool { return executables[base] }

// executables are the file names of all products, collected once: the question
// is asked of every file of an image. It is never written again.
var executables = func() map[string]bool {
	names := map[string]bool{}
	for _, p := range All() {
		for _, e := range p.Executables {
			names[e] = true
		}
	}
	return names
}()

// Hinted reports whether text, from an image's reference or configuration,
// names a known product.
func Hinted(text string) bool {
	text = strings.ToLower(text)
	for _, p := range All() {
		for _, h := range p.Hints {
			if strings.Contains(text, h) {
				return true
			}
		}
		for _, w := range p.Words {
			if standsAlone(text, w) {
				return true
			}
		}
	}
	return false
}

func standsAlone(text, word string) bool {
	for {
		i := strings.Index(text, word)
		if i < 0 {
			return false
		}
		end := i + len(word)
		if (i == 0 || !letter(text[i-1])) && (end == len(text) || !letter(text[end])) {
			return true
		}
		text = text[end:]
	}
}

func letter(b byte) bool { return b >= 'a' && b <= 'z' }

// Expected returns the ABI that this version is known to use; false when the
// version is not one.
func (p Product) Expected(version string) (report.ABI, bool) {
	v, ok := ParseVersion(version)
	if !ok {
		return report.ABIUnknown, false
	}
	for _, r := range p.Ranges {
		from, _ := ParseVersion(r.From)
		before, ends := ParseVersion(r.Before)
		if v.Compare(from) >= 0 && (!ends || v.Compare(before) < 0) {
			return r.ABI, true
		}
	}
	return report.ABIUnknown, false
}
