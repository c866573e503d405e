// Package inspect turns one ELF file into a complete report.Binary: the verdict of
// package elfcaps, and the facts of package product about the program. It also
// supplies both to scans of images, as a layers.Inspector.
//
// It finds no files and judges no policy. Files are hostile; elfcaps.Limits bounds
// their cost.
package inspect

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/capvet/capvet/internal/elfcaps"
	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/product"
	"github.com/capvet/capvet/internal/report"
)

// Inspector returns the functions of this package and of package product that
// scans of images use.
func Inspector() layers.Inspector {
	return layers.Inspector{
		IsHint:           product.Hinted,
		IsCandidate:      product.IsExecutable,
		Analyze:          File,
		Screen:           Screen,
		Settings:         product.Settings,
		IsLibrary:        IsLibrary,
		ResolveLibraries: ResolveLibraries,
	}
}

// File analyses the ELF file of size bytes in r. path becomes the report's Path;
// File does not open it. Errors wrap those of elfcaps.Open or of r, which is read
// from two goroutines.
func File(r io.ReaderAt, size int64, path string) (report.Binary, error) {
	return examine(r, size, path, (*elfcaps.File).Capset)
}

// Explain is File with the instructions that each verdict is based on.
func Explain(r io.ReaderAt, size int64, path string) (report.Binary, []elfcaps.Evidence, error) {
	var evidence []elfcaps.Evidence
	b, err := examine(r, size, path, func(f *elfcaps.File) (c report.Capset) {
		c, evidence = f.Explain()
		return c
	})
	return b, evidence, err
}

func examine(r io.ReaderAt, size int64, path string, capset func(*elfcaps.File) report.Capset) (report.Binary, error) {
	f, err := elfcaps.Open(r, size, elfcaps.Limits{})
	if err != nil {
		return report.Binary{}, fmt.Errorf("inspect %s: %w", path, err)
	}
	return describe(f, r, size, path, capset)
}

// describe reports on an opened file.
func describe(f *elfcaps.File, r io.ReaderAt, size int64, path string, capset func(*elfcaps.File) report.Capset) (report.Binary, error) {
	var hashing errgroup.Group
	sum := sha256.New()
	hashing.Go(func() error {
		_, err := io.Copy(sum, io.NewSectionReader(r, 0, size))
		return err
	})
	x := f.Facts()
	b := report.Binary{
		Path: path, Size: size, Machine: x.Machine, Libc: x.Libc,
		Linkage: x.Linkage, PIE: x.PIE, Stripped: x.Stripped, BuildID: x.BuildID, Capset: capset(f),
	}
	if m, basis, ok := recognise(f); ok {
		b.Product = &report.Product{Name: m.Product.Name, Version: m.Version, Basis: basis}
		judge(&b, f, m)
	} else if b.Capset.ABI.Legacy() {
		b.Advice = product.OtherLegacy
	}
	if err := hashing.Wait(); err != nil {
		return report.Binary{}, fmt.Errorf("inspect %s: %w", path, err)
	}
	b.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return b, nil
}

// recognise identifies the product by a version symbol or by strings in the data.
func recognise(f *elfcaps.File) (m product.Match, basis string, ok bool) {
	matcher := product.NewMatcher()
	search := func(_ uint64, data []byte) bool {
		matcher.Chunk(data)
		return true
	}
	f.SearchData(product.Overlap, search)
	if _, found := matcher.Result(); !found && f.HasSections() {
		f.SearchLoaded(product.Overlap, search) // section headers may name data otherwise
	}
	for _, p := range product.All() {
		if len(p.VersionSymbols) == 0 {
			continue
		}
		symbols := f.Symbols(p.VersionSymbols...)
		for _, name := range p.VersionSymbols {
			if s, found := symbols[name]; found {
				version := f.String(s.Addr)
				if _, valid := product.ParseVersion(version); !valid || len(version) >= 64 {
					version = ""
				}
				if m = (product.Match{Product: p, Version: version, Feature: matcher.Feature(p.Name)}); version != "" {
					return m, "symbol", true
				}
			}
		}
	}
	if found, ok := matcher.Result(); ok || m.Product.Name == "" {
		return found, "string", ok
	}
	return m, "symbol", true // of an unread version
}

// judge combines the verdict on the code with the facts of the product. Calls that were found
// take precedence over the version; a disagreement is reported. That none were found proves
// nothing about a version that makes them, unless its own list of features says so.
func judge(b *report.Binary, f *elfcaps.File, m product.Match) {
	c := &b.Capset
	expected, known := m.Product.Expected(m.Version)
	switch {
	case c.ABI == report.ABIUnknown:
		fallBack(c, f, m, expected, known)
	case c.ABI == report.ABINone && m.Feature == '-':
		c.Reason = builtWithout(m)
	case (c.ABI == report.ABINone || c.ABI == report.ABILibrary) && expected != report.ABINone:
		*c = report.Capset{ABI: expected, Basis: report.BasisVersion, Calls: c.Calls, Reason: notFound(m)}
		if !known {
			c.Basis = report.BasisNone
		}
	case known && c.ABI != expected && c.Reason == "":
		c.Reason = disagreement(c.ABI, expected, m)
	}
	if c.ABI == report.ABINone || c.ABI == report.ABILibrary {
		return
	}
	found := product.Found{Version: m.Version, Calls: c.Calls}
	for name := range f.Symbols(m.Product.Functions...) {
		found.Functions = append(found.Functions, name)
	}
	trigger := m.Product.Trigger(found)
	b.Trigger = &trigger
	if c.ABI.Legacy() {
		b.Advice = m.Product.Legacy(found)
	}
}

// fallBack judges a file without a verdict on its code by a header object in the
// data, or by the version.
func fallBack(c *report.Capset, f *elfcaps.File, m product.Match, expected report.ABI, known bool) {
	if name := m.Product.HeaderSymbol; name != "" {
		if s, ok := f.Symbols(name)[name]; ok {
			if v, ok := f.Word(s.Addr, 4); ok && report.ABIOfHeader(uint32(v)) != report.ABIUnknown {
				c.ABI, c.Basis = report.ABIOfHeader(uint32(v)), report.BasisData
				addReason(c, "the header object "+name+" says so")
				return
			}
		}
	}
	if m.Feature == '-' {
		c.ABI, c.Basis = report.ABINone, report.BasisData
		addReason(c, builtWithout(m))
		return
	}
	if known {
		c.ABI, c.Basis = expected, report.BasisVersion
		addReason(c, fmt.Sprintf("%s %s is known to", m.Product.Name, m.Version))
	}
}

// builtWithout returns the reason for a build without the feature.
func builtWithout(m product.Match) string {
	return fmt.Sprintf("built without %s, as its list of build features says", m.Product.Feature)
}

// notFound returns the reason for a build whose calls were not found.
func notFound(m product.Match) string {
	if m.Version == "" {
		return fmt.Sprintf("no capability call was found in the code of %s, and its version was not read", m.Product.Name)
	}
	reason := fmt.Sprintf("%s %s is known to, but no capability call was found in its code", m.Product.Name, m.Version)
	if m.Product.Feature == "" {
		return reason
	}
	return reason + ", nor a list of build features without " + m.Product.Feature
}

// addReason adds to the reason for a verdict.
func addReason(c *report.Capset, text string) {
	c.Reason = strings.TrimPrefix(c.Reason+"; "+text, "; ")
}

// disagreement returns the reason for a verdict that the version contradicts.
func disagreement(got, expected report.ABI, m product.Match) string {
	name := m.Product.Name + " " + m.Version
	switch {
	case expected == report.ABINone:
		return fmt.Sprintf("%s is expected to make no capability call, but its code does: perhaps a backport", name)
	case expected.Legacy() && !got.Legacy():
		return fmt.Sprintf("%s is expected to use %s, but its code uses %s: perhaps a backported fix", name, expected, got)
	}
	return fmt.Sprintf("%s is expected to use %s, but its code uses %s", name, expected, got)
}
