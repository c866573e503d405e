package report

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of a report. Images are hostile: each may hold thousands of calls and
// names of any length, and many reports are kept. What is left out is counted in a
// gap, and the worst is kept.
const (
	// MaxBinaries is the most executables of a report.
	MaxBinaries = 256
	// MaxCalls is the most calls of a report: proxies make a handful.
	MaxCalls = 1024
	// MaxLibraries is the most libraries of capability calls of one executable.
	MaxLibraries = 16
	// MaxGaps is the most gaps of a report, with those about its own bounds.
	MaxGaps = 256
	// MaxTextBytes is the longest text.
	MaxTextBytes = 1 << 10
	// MaxPathBytes is the longest path: PATH_MAX of Linux.
	MaxPathBytes = 4 << 10
)

// GapTooLarge is the reason for a gap over a limit.
const GapTooLarge = "too-large"

// Bounded returns a report within the bounds. It shares no changed slice with r.
func Bounded(r Report) Report {
	var omitted []Gap
	omit := func(n int, of string) {
		if n > 0 {
			omitted = append(omitted, Gap{Where: "report", Reason: GapTooLarge, Detail: fmt.Sprintf("%d more %s are left out", n, of)})
			r.Complete = false
		}
	}
	binaries := worst(r.Binaries, MaxBinaries, func(b Binary) int { return rank(b.Capset.ABI) })
	omit(len(r.Binaries)-len(binaries), "executables")
	r.Binaries = boundedCalls(binaries, omit)
	for i := range r.Binaries {
		r.Binaries[i].shorten()
	}
	gaps := worst(r.Gaps, MaxGaps-4, func(g Gap) int {
		if g.Other {
			return 1
		}
		return 0
	})
	omit(len(r.Gaps)-len(gaps), "gaps")
	for i := range gaps {
		gaps[i].Where = Shorten(gaps[i].Where, MaxPathBytes)
		gaps[i].Detail = Shorten(gaps[i].Detail, MaxTextBytes)
	}
	r.Gaps = append(gaps, omitted...)
	return r
}

// worst returns a copy of the first n values of the lowest ranks, in their own
// order.
func worst[T any](all []T, n int, rank func(T) int) []T {
	if len(all) <= n {
		return append(make([]T, 0, len(all)), all...)
	}
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return rank(all[a]) - rank(all[b]) })
	order = order[:n]
	slices.Sort(order)
	kept := make([]T, 0, n)
	for _, i := range order {
		kept = append(kept, all[i])
	}
	return kept
}

// boundedCalls bounds the calls of all binaries together, and each binary's
// libraries.
func boundedCalls(binaries []Binary, omit func(n int, of string)) []Binary {
	type place struct {
		binary int
		call   Call
	}
	var all []place
	libraries, totals := 0, make([]int, len(binaries))
	for i := range binaries {
		capset := &binaries[i].Capset
		for _, c := range capset.Calls {
			all = append(all, place{i, c})
		}
		libraries += max(0, len(capset.Libraries)-MaxLibraries)
		capset.Libraries = worst(capset.Libraries, MaxLibraries, func(l Library) int { return rank(l.ABI) })
		if len(capset.Libraries) == 0 {
			capset.Libraries = nil
		}
		totals[i] = max(len(capset.Calls), capset.CallsTotal)
		capset.Calls = make([]Call, 0, min(len(capset.Calls), MaxCalls))
	}
	kept := worst(all, MaxCalls, func(p place) int { return rank(p.call.ABI) })
	for _, p := range kept {
		calls := &binaries[p.binary].Capset.Calls
		*calls = append(*calls, p.call)
	}
	for i, total := range totals {
		if capset := &binaries[i].Capset; len(capset.Calls) < total {
			capset.CallsTotal = total
		}
	}
	omit(len(all)-len(kept), "calls")
	omit(libraries, "libraries")
	return binaries
}

// shorten bounds the texts of a binary whose slices are its own.
func (b *Binary) shorten() {
	b.Path = Shorten(b.Path, MaxPathBytes)
	for _, text := range []*string{&b.FileCapabilities, &b.BuildID, &b.Capset.Reason, &b.Advice} {
		*text = Shorten(*text, MaxTextBytes)
	}
	if p := b.Product; p != nil && len(p.Version) > MaxTextBytes {
		b.Product = &Product{p.Name, Shorten(p.Version, MaxTextBytes), p.Basis}
	}
	if t := b.Trigger; t != nil && len(t.Why) > MaxTextBytes {
		b.Trigger = &Trigger{t.When, Shorten(t.Why, MaxTextBytes)}
	}
	for i := range b.Capset.Calls {
		c := &b.Capset.Calls[i]
		c.Function, c.Header = Shorten(c.Function, MaxTextBytes), Shorten(c.Header, MaxTextBytes)
	}
	for i := range b.Capset.Libraries {
		l := &b.Capset.Libraries[i]
		l.Name, l.Path = Shorten(l.Name, MaxTextBytes), Shorten(l.Path, MaxPathBytes)
	}
}

// Shorten returns a text of at most limit bytes, which keeps no longer one in
// memory. An ellipsis marks a cut.
func Shorten(text string, limit int) string {
	const ellipsis = "..."
	if len(text) <= limit {
		return text
	}
	return strings.Clone(strings.ToValidUTF8(text[:limit-len(ellipsis)], "")) + ellipsis
}

// Approximate sizes of the values without their texts, in bytes.
const (
	reportBytes  = 512
	binaryBytes  = 512 // with product and trigger
	callBytes    = 112
	libraryBytes = 112
	gapBytes     = 64
	stringBytes  = 16
)

// Bytes returns the approximate memory of the report, in bytes.
func (r Report) Bytes() int64 {
	n := reportBytes + len(r.Image) + len(r.Reference) + len(r.Platform)
	if c := r.Configuration; c != nil {
		n += len(c.User) + lengths(c.Entrypoint) + lengths(c.Command)
	}
	for _, s := range r.Settings {
		n += gapBytes + len(s.Path) + len(s.File)
	}
	for _, g := range r.Gaps {
		n += gapBytes + len(g.Where) + len(g.Reason) + len(g.Detail)
	}
	total := int64(n + lengths(r.ThroughTable))
	for _, b := range r.Binaries {
		total += b.Bytes()
	}
	return total
}

// Bytes returns the approximate memory of the binary, in bytes.
func (b Binary) Bytes() int64 {
	n := binaryBytes
	for _, text := range []string{b.Path, b.SHA256, b.Layer, b.FileCapabilities, b.BuildID, b.Capset.Reason, b.Advice} {
		n += len(text)
	}
	if b.Product != nil {
		n += len(b.Product.Version)
	}
	if b.Trigger != nil {
		n += len(b.Trigger.Why)
	}
	for _, c := range b.Capset.Calls {
		n += callBytes + len(c.Function) + len(c.Address) + len(c.Header)
	}
	for _, l := range b.Capset.Libraries {
		n += libraryBytes + len(l.Name) + len(l.Path)
	}
	return int64(n)
}

// lengths returns the memory of texts, in bytes.
func lengths(texts []string) int {
	n := stringBytes * len(texts)
	for _, text := range texts {
		n += len(text)
	}
	return n
}
