// Package product describes the programs that capvet looks for, as data, in one file per
// product: signs to recognise them by, the ABI of each range of versions, the conditions
// under which their calls run, their configuration files, and advice for each situation.
//
// It is not for reading files or for judging: inspect brings the facts about a file, and
// policy those about a Pod. Texts from untrusted images are compared, never kept.
package product

import (
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/report"
)

// Product is one known program.
type Product struct {
	// Name is the lower-case name, Title the name as its makers write it.
	Name, Title string
	// Executables are base names of the program's file.
	Executables []string
	// Hints are lower-case words; an image reference or configuration that contains one
	// hints at the product. Words count only when they stand alone.
	Hints, Words []string
	// VersionSymbols are character arrays that hold the version.
	VersionSymbols []string
	// Markers are texts in the program's data beside its version.
	Markers []Marker
	// Feature is the word for capability calls in the program's list of build features,
	// where it follows a plus or minus sign; empty without such a list.
	Feature string
	// HeaderSymbol is the exported header object, if the program has one.
	HeaderSymbol string
	// Functions make the calls.
	Functions []string
	// Ranges are in ascending order of version, without gaps.
	Ranges []Range
	// Triggers are in ascending order of version; the last one that applies to a file
	// is the file's. The first applies to every file.
	Triggers []Trigger
	// Configuration describes the configuration files; nil if they are not read.
	Configuration *Configuration
	Advice        Advice
}

// Advice is the advice to the person in charge of a Pod, by situation, in lines of one or
// two sentences. The first line of each is the most important.
type Advice struct {
	// Start: legacy calls run at every start.
	Start []string
	// Conditional: legacy calls run with some configuration, which is unknown.
	Conditional []string
	// Dormant: legacy calls do not run with the user and configuration of this Pod.
	Dormant []string
	// Unstarted: it is unknown whether this Pod starts the program.
	Unstarted []string
	// UnknownABI: the ABI of the calls is unknown.
	UnknownABI []string
}

// OtherLegacy is the advice about legacy calls of a program that is no known product.
// Linux knows version 3 since 2.6.26 (git history of linux/capability.h).
const OtherLegacy = otherFix + " " + otherEffect

const (
	otherFix    = "Ask its maintainers to pass version 3 of the capability header, which Linux knows since 2.6.26."
	otherEffect = "Until then it is harmless: the kernel logs one line per boot, and nothing else changes."
)

// Other returns the advice about programs that are no known product. Their triggers are
// unknown.
func Other() Advice {
	legacy := []string{otherFix, otherEffect}
	return Advice{Start: legacy, Conditional: legacy, Dormant: legacy, Unstarted: legacy, UnknownABI: []string{
		"Ask its maintainers for the version of the capability header that it passes (3 is current), or exempt the image.",
	}}
}

// Marker is a text beside a version.
type Marker struct {
	// Text stands right before the version, or right after it when After is set.
	Text  string
	After bool
	// Also must be in the data as well, unless it is empty.
	Also string
}

// Range is a range of versions: From is included, Before is not, and empty means
// unbounded.
type Range struct {
	From, Before string
	ABI          report.ABI
}

// Found are the facts about one binary.
type Found struct {
	Version string
	Calls   []report.Call
	// Functions are those of Product.Functions that the file defines.
	Functions []string
}

// known holds all products. It is never modified.
var known = []Product{haproxy(), openresty(), tengine(), angie(), freenginx(), nginx()}

// All returns every known product, specific ones before those they derive from.
func All() []Product { return slices.Clone(known) }

// Lookup returns the product of a name, false if it is unknown.
func Lookup(name string) (Product, bool) {
	if i := slices.IndexFunc(known, func(p Product) bool { return p.Name == name }); i >= 0 {
		return known[i], true
	}
	return Product{}, false
}

// IsExecutable reports whether base, the last element of a path, is the file name of a
// known product's executable.
func IsExecutable(base string) bool {
	for i := range known { // without a copy: this is asked for every file of an image
		if slices.Contains(known[i].Executables, base) {
			return true
		}
	}
	return false
}

// Hinted reports whether text, from an image's reference or configuration,
// names a known product.
func Hinted(text string) bool {
	text = strings.ToLower(text)
	for i := range known { // without a copy: this is asked for every word of a Pod
		p := &known[i]
		if slices.ContainsFunc(p.Hints, func(hint string) bool { return strings.Contains(text, hint) }) ||
			slices.ContainsFunc(p.Words, func(word string) bool { return standsAlone(text, word) }) {
			return true
		}
	}
	return false
}

func standsAlone(text, word string) bool {
	for {
		before, after, found := strings.Cut(text, word)
		if !found {
			return false
		}
		if (before == "" || !letter(before[len(before)-1])) && (after == "" || !letter(after[0])) {
			return true
		}
		text = after
	}
}

func letter(b byte) bool { return b >= 'a' && b <= 'z' }

// Expected returns the ABI of this version, false if the version cannot be parsed.
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
