package elfcaps

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/absint"
	"github.com/capvet/capvet/internal/report"
)

// Capset returns the verdict on the file's capability calls. It never fails: for an
// unreadable file the verdict is ABIUnknown, with a reason.
func (f *File) Capset() report.Capset {
	out, _ := f.judge(false)
	return out
}

// judge returns the verdict and its analysis, nil for a file whose code is not read.
func (f *File) judge(explain bool) (report.Capset, *analysis) {
	out := report.Capset{ABI: report.ABINone, Basis: report.BasisCode, Calls: []report.Call{}}
	switch {
	case f.Machine == nil:
		out.Reason = fmt.Sprintf("code for %s is not read", f.Facts().Machine)
	case f.Packed():
		out.Reason = "packed, so that its code is not to be seen: UPX unpacks its own files with upx -d"
	}
	if out.Reason != "" {
		out.ABI, out.Basis = report.ABIUnknown, report.BasisNone
		return out, nil
	}
	a := newAnalysis(f)
	a.Explain = explain
	a.trace()
	a.conclude()
	slices.SortStableFunc(a.found, byAddress)
	a.found = slices.CompactFunc(a.found, func(x, y finding) bool {
		return x.PC == y.PC && x.syscall == y.syscall && x.abi == y.abi
	})
	for _, x := range a.found {
		out.ABI = report.WorseABI(out.ABI, x.abi)
	}
	if total := len(a.found); a.keepWorst() {
		out.CallsTotal = total
	}
	var addrs []uint64 // of the calls, and of their headers in data
	for _, x := range a.found {
		addrs = append(addrs, x.PC)
		if x.Header.Kind == absint.KindConst {
			addrs = append(addrs, uint64(x.Header.Off))
		}
	}
	names := a.File.NamesOf(addrs)
	for _, x := range a.found {
		out.Calls = append(out.Calls, report.Call{
			Syscall: x.syscall, ABI: x.abi, Function: short(cmp.Or(names[x.PC], a.Functions.GoName(x.PC))), Address: fmt.Sprintf("%#x", x.PC),
			Via: x.Sink.Via, Header: a.describe(x.Header, names),
		})
	}
	a.reason(&out)
	return out, a
}

// conclude completes the verdicts of single calls from facts about the whole file.
func (a *analysis) conclude() {
	a.reportUncalled()
	// Headers in globals that other code fills.
	for i := range a.found {
		x := &a.found[i]
		if x.abi != report.ABIUnknown {
			continue
		}
		places := a.HeadersIn(x.Header)
		if x.Header.Kind == absint.KindConst || a.IsThreadLocal(x.Header) {
			places = []absint.Value{x.Header}
		}
		abi := report.ABINone
		for _, at := range places {
			this, how := a.versionAt(at)
			abi, x.How[2] = report.WorseABI(abi, this), a.Values.JoinTrails(x.How[2], how)
		}
		if abi != report.ABINone {
			x.abi = abi
		}
	}
	// A program that asks the kernel for its preferred version and passes a version
	// from memory passes the preferred one, if it has no legacy version itself.
	probes := slices.ContainsFunc(a.found, func(x finding) bool { return x.abi == report.ABINegotiated })
	unread := slices.ContainsFunc(a.found, func(x finding) bool { return x.abi == report.ABIUnknown })
	if !probes || !unread || a.offersLegacy() {
		return
	}
	for i := range a.found {
		if x := &a.found[i]; x.abi == report.ABIUnknown {
			x.abi = report.ABINegotiated
		}
	}
}

// versionAt returns the version that code stores at an address in data, else the initial one.
func (a *analysis) versionAt(addr absint.Value) (report.ABI, absint.Trail) {
	abi := report.ABINone
	g, stored := a.Globals[addr]
	if !stored {
		v := a.Initial(addr, 4)
		if !absint.KnownHeader(v) {
			return report.ABIUnknown, 0
		}
		g = absint.Global{Value: v, By: a.DataTrail(addr, 4, v)}
	}
	for _, v := range a.Values.Alternatives(g.Value) {
		if v = absint.Truncate(v, 4); !absint.KnownHeader(v) {
			return report.ABIUnknown, g.By
		}
		abi = report.WorseABI(abi, report.ABIOfHeader(uint32(v.Off)))
	}
	return abi, g.By
}

// reportUncalled adds calls with unknown callers: the address is taken, or exported.
func (a *analysis) reportUncalled() {
	open := map[uint64]bool{}
	for t, sinks := range a.SinksAt {
		for _, k := range sinks {
			if !k.Called && k.Site.Sink != nil && a.IsCapabilityCall(k.Number) {
				open[t] = a.addressTaken[t]
			}
		}
	}
	if len(open) == 0 {
		return
	}
	a.File.DynamicFunctions(func(addr uint64) {
		if _, ok := open[addr]; ok {
			open[addr] = true
		}
	})
	for _, t := range slices.Sorted(maps.Keys(open)) { // for the same report each time
		for _, k := range a.SinksAt[t] {
			if open[t] && !k.Called && a.IsCapabilityCall(k.Number) {
				a.resolveTo(k.Site, report.ABIUnknown)
			}
		}
	}
}

// reason sets the reason of the verdict, and a verdict that no single call determines.
func (a *analysis) reason(out *report.Capset) {
	if out.Reason = cmp.Or(a.overflow, a.left()); out.Reason != "" {
		if out.ABI = report.WorseABI(out.ABI, report.ABIUnknown); out.ABI == report.ABIUnknown {
			out.Basis = report.BasisNone
		}
		return
	}
	for _, c := range out.Calls {
		if c.ABI == report.ABIUnknown && out.ABI == report.ABIUnknown {
			out.Reason = fmt.Sprintf("the header version that %s passes at %s was not read: %s", c.Syscall, c.Address, c.Header)
			return
		}
	}
	if report.WorseABI(out.ABI, report.ABIUnknown) == report.ABIUnknown {
		if why := a.unsettled(len(out.Calls) == 0); why != "" {
			out.ABI, out.Reason = report.ABIUnknown, why
			return
		}
	}
	if out.ABI != report.ABINone {
		return
	}
	if name, addr := a.looksUp(); name != "" {
		out.ABI, out.Reason = report.ABIUnknown, fmt.Sprintf("the name %s stands at %#x, and dlsym may look it up", name, addr)
		return
	}
	if name := a.unused(); name != "" {
		out.ABI, out.Reason = report.ABIUnknown, fmt.Sprintf("%s is imported, and what uses it was not found", name)
		return
	}
	if len(out.Calls) == 0 {
		for _, n := range a.File.Facts().Needed {
			if lib := LibraryOf(n); lib != "" {
				out.Libraries = append(out.Libraries, report.Library{Name: n})
				if out.ABI != report.ABILibrary {
					out.ABI, out.Reason = report.ABILibrary, "only through "+lib
				}
			}
		}
	}
}

// left returns the limit that was met in another package, or "".
func (a *analysis) left() string {
	switch {
	case a.Exhausted():
		return "more work than the limits allow"
	case a.p.Overflow:
		return "too many places that may enter the kernel"
	case a.Cut != "":
		return a.Cut
	}
	return a.File.Left()
}

// looksUp returns a capability call's name that dlsym may look up in the data, and its address.
func (a *analysis) looksUp() (name string, addr uint64) {
	if !a.File.Imported("dlsym") {
		return "", 0
	}
	a.File.SearchData(len("\x00capset\x00"), func(at uint64, b []byte) bool {
		for _, n := range []string{"capget", "capset"} {
			if i := textIn(b, n); i >= 0 && name == "" {
				name, addr = n, at+uint64(i)
			}
		}
		return name == ""
	})
	return name, addr
}

// textIn returns the index of a zero-terminated string in b, -1 without one. A
// printable byte before it makes it the end of a longer string.
func textIn(b []byte, text string) int {
	want := []byte(text + "\x00")
	for i := 0; ; {
		j := bytes.Index(b[i:], want)
		if j < 0 {
			return -1
		}
		if i += j; i == 0 || b[i-1] < ' ' || b[i-1] > '~' {
			return i
		}
		i++
	}
}

// unsettled returns why unresolved calls may be worse than the known ones, or "". A call
// counts if it or the file may have a legacy header version; without any known call, a
// header version of any kind counts.
func (a *analysis) unsettled(alone bool) string {
	for _, o := range a.unresolved {
		for _, v := range a.Values.Alternatives(o.Version) {
			if v = absint.Truncate(v, 4); absint.KnownHeader(v) && report.ABIOfHeader(uint32(v.Off)).Legacy() {
				return fmt.Sprintf("at %#x %s, and it passes what may be a header of %s", o.PC, o.why, report.ABIOfHeader(uint32(v.Off)))
			}
		}
	}
	if len(a.unresolved) == 0 {
		return ""
	}
	o := a.unresolved[0]
	switch {
	case alone && len(a.headerConstants) > 0:
		return fmt.Sprintf("at %#x %s, and code at %#x builds a header version", o.PC, o.why, a.headerConstants[0])
	case alone && a.dataHolds(func(v report.ABI) bool { return v != report.ABIUnknown }):
		return fmt.Sprintf("at %#x %s, and the data has a header version", o.PC, o.why)
	case !alone && a.offersLegacy():
		return fmt.Sprintf("at %#x %s, and the file has a legacy header version", o.PC, o.why)
	}
	return ""
}

// LibraryOf returns "libcap" or "libcap-ng" if name (DT_NEEDED, or a path) is that of a library of capability calls, else "".
func LibraryOf(name string) string {
	name = path.Base(name)
	switch {
	case strings.HasPrefix(name, "libcap.so."), strings.HasPrefix(name, "libpsx.so."):
		return "libcap"
	case strings.HasPrefix(name, "libcap-ng.so."), strings.HasPrefix(name, "libdrop_ambient.so."):
		return "libcap-ng"
	}
	return ""
}

// An unknown version comes from the file's data, from code that stores one, from the
// kernel, or from another file. The versions in the file therefore bound the damage
// of a call with unknown arguments.

// offersLegacy reports whether code stores a legacy version, or the data holds one.
func (a *analysis) offersLegacy() bool {
	return a.StoresLegacy || a.dataHolds(report.ABI.Legacy)
}

// dataHolds reports whether an aligned word of the file's data is a wanted version.
func (a *analysis) dataHolds(wanted func(report.ABI) bool) bool {
	found := false
	a.File.SearchData(4, func(addr uint64, b []byte) bool {
		for i := int(-addr & 3); i+4 <= len(b); i += 4 {
			found = found || wanted(report.ABIOfHeader(binary.LittleEndian.Uint32(b[i:])))
		}
		return !found
	})
	return found
}
