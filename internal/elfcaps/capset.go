package elfcaps

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/absint"
	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/report"
)

// Capset judges the capability calls of the file. It never fails: what cannot
// be read is ABIUnknown with a reason.
func (f *File) Capset() report.Capset {
	out, _ := f.judge(false)
	return out
}

// judge returns the verdict and the work behind it, nil where no code is read.
func (f *File) judge(explain bool) (report.Capset, *analysis) {
	out := report.Capset{ABI: report.ABINone, Basis: report.BasisCode, Calls: []report.Call{}}
	if f.Machine == nil {
		out.ABI, out.Basis = report.ABIUnknown, report.BasisNone
		out.Reason = fmt.Sprintf("code for %s is not read", f.Facts().Machine)
		return out, nil
	}
	if f.Packed() {
		out.ABI, out.Basis = report.ABIUnknown, report.BasisNone
		out.Reason = "packed with UPX, so that its code is not to be seen: unpack it with upx -d"
		return out, nil
	}
	a := newAnalysis(f)
	a.Explain = explain
	a.trace()
	a.conclude()
	slices.SortStableFunc(a.found, func(x, y finding) int {
		return cmp.Or(cmp.Compare(x.PC, y.PC), cmp.Compare(x.syscall, y.syscall), cmp.Compare(x.abi, y.abi))
	})
	a.found = slices.CompactFunc(a.found, func(x, y finding) bool {
		return x.PC == y.PC && x.syscall == y.syscall && x.abi == y.abi
	})
	functions, data := a.symbolNames()
	for _, x := range a.found {
		out.ABI = report.WorseABI(out.ABI, x.abi)
		out.Calls = append(out.Calls, report.Call{
			Syscall: x.syscall, ABI: x.abi, Function: functions[x.PC], Address: fmt.Sprintf("%#x", x.PC),
			Via: x.Sink.Via, Header: a.describe(x.Header, data),
		})
	}
	a.reason(&out)
	return out, a
}

// symbolNames names the functions that hold the calls, and the headers in data.
func (a *analysis) symbolNames() (functions map[uint64]string, data map[uint64]elffile.Symbol) {
	data = map[uint64]elffile.Symbol{}
	for _, x := range a.found {
		data[x.PC] = elffile.Symbol{}
		if x.Header.Kind == absint.KindConst {
			data[uint64(x.Header.Off)] = elffile.Symbol{}
		}
	}
	a.File.NameOf(data)
	functions = map[uint64]string{}
	for _, x := range a.found {
		functions[x.PC] = data[x.PC].Name
		if functions[x.PC] == "" {
			functions[x.PC] = a.Functions.GoName(x.PC)
		}
	}
	return functions, data
}

// conclude settles what the rounds left open.
func (a *analysis) conclude() {
	a.reportUncalled()
	// A header in a global that other code fills.
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
	// A program that asks the kernel which version it prefers and then passes
	// one from memory passes what it was told, if it has no legacy one itself.
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

// versionAt is the version that the header at a place in data holds: what code
// stores there, or what the file has.
func (a *analysis) versionAt(addr absint.Value) (report.ABI, absint.Trail) {
	abi := report.ABINone
	g, stored := a.Globals[addr]
	if !stored {
		v := a.Initial(addr, 4)
		if !absint.KnownHeader(v) {
			return report.ABIUnknown, 0
		}
		data := uint64(addr.Off)
		if at, ok := a.InitialTLS(addr, 4); ok {
			data = at
		}
		g = absint.Global{Value: v, By: a.Values.Trail(absint.TrailStep{Data: data}, v)}
	}
	for _, v := range a.Values.Alternatives(g.Value) {
		if v = absint.Truncate(v, 4); !absint.KnownHeader(v) {
			return report.ABIUnknown, g.By
		}
		abi = report.WorseABI(abi, report.ABIOfHeader(uint32(v.Off)))
	}
	return abi, g.By
}

// reportUncalled reports the functions that make a capability call with a header of
// their callers, of whom none was seen though there may be some: the function's
// address is taken, or other files may call it.
func (a *analysis) reportUncalled() {
	open := map[uint64]bool{}
	for t, sinks := range a.SinksAt {
		for _, k := range sinks {
			if !k.Called && k.Site.Sink != nil && a.IsCapabilityCall(k.Number) {
				open[t] = open[t] || a.addressTaken[t]
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
	for _, t := range slices.Sorted(maps.Keys(open)) { // in order, so that the same file gives the same report
		for _, k := range a.SinksAt[t] {
			if open[t] && !k.Called && a.IsCapabilityCall(k.Number) {
				a.resolveTo(k.Site, report.ABIUnknown)
			}
		}
	}
}

// reason adds what calls alone do not say.
func (a *analysis) reason(out *report.Capset) {
	if a.overflow == "" && a.Exhausted() {
		a.overflow = "more work than the limits allow"
	}
	if a.overflow != "" {
		out.ABI = report.WorseABI(out.ABI, report.ABIUnknown)
		out.Reason = a.overflow
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

// looksUp returns the name of one of the two functions that is a text of its own
// in a file that can ask the loader for a function by name, and where.
func (a *analysis) looksUp() (name string, addr uint64) {
	asks := false
	for _, imported := range a.File.GOT().Imports {
		asks = asks || imported == "dlsym"
	}
	if !asks {
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

// textIn returns where text stands in b as a string of its own, -1 if it does not:
// nothing that can be read comes right before it.
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

// unsettled says why calls whose number was not read may be capability calls of
// a worse version than those that were: they pass what may be a legacy header,
// or the file has a legacy version for one, or, where nothing else was found, any.
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
	case alone && a.offersVersion():
		return fmt.Sprintf("at %#x %s, and the data has a header version", o.PC, o.why)
	case !alone && a.offersLegacy():
		return fmt.Sprintf("at %#x %s, and the file has a legacy header version", o.PC, o.why)
	}
	return ""
}

// LibraryOf returns "libcap" or "libcap-ng" when name (DT_NEEDED, or the base
// of a path) is that of a library of capability calls, else nothing.
func LibraryOf(name string) string {
	switch {
	case strings.HasPrefix(name, "libcap.so."), strings.HasPrefix(name, "libpsx.so."):
		return "libcap"
	case strings.HasPrefix(name, "libcap-ng.so."), strings.HasPrefix(name, "libdrop_ambient.so."):
		return "libcap-ng"
	}
	return ""
}
