package elfcaps

import "slices"

// locate finds the functions of places that no table covers: by symbols, then
// by the nearest call target below.
func (a *analysis) locate(lost []uint64) []group {
	if len(lost) == 0 {
		return nil
	}
	var groups []group
	covered := a.f.covering(lost)
	var rest []uint64
	for i, pc := range lost {
		if s := covered[i]; s.end != 0 {
			groups = addSite(groups, s, pc)
			continue
		}
		rest = append(rest, pc)
	}
	if len(rest) == 0 {
		return groups
	}
	starts := make([]uint64, len(rest))
	if a.marks != nil {
		for i, pc := range rest {
			starts[i] = a.marks.last(pc)
		}
	} else {
		q := newQuery(a.limits.Sites)
		q.points = rest
		starts = a.transfers(q).starts
	}
	for i, pc := range rest {
		s, ok := a.outline(pc, starts[i])
		if !ok {
			continue // data, or nothing that is called
		}
		groups = addSite(groups, s, pc)
	}
	return groups
}

// addSite adds a place to the last group if that is its function's, else to one
// of its own.
func addSite(groups []group, s span, pc uint64) []group {
	if n := len(groups); n > 0 && groups[n-1].span == s {
		groups[n-1].sites = append(groups[n-1].sites, pc)
		return groups
	}
	return append(groups, group{s, true, []uint64{pc}})
}

// outline finds the bounds of the function that holds pc by decoding from from,
// a call target below it: a function ends at an instruction that does not go
// on and that no jump so far passes over.
func (a *analysis) outline(pc, from uint64) (span, bool) {
	// A call target begins a function, even with an instruction that fills.
	padding := false
	if from == 0 || pc-from > uint64(a.limits.FunctionBytes) {
		if a.m.align != 4 {
			return span{}, false
		}
		from, padding = pc-min(pc, outlineBack), true
		for _, r := range a.f.code {
			if r.holds(pc) {
				from = max(from, r.start)
			}
		}
	}
	code := a.code(span{from, a.rangeEnd(pc)})
	var in insn
	start, furthest := from, from
	called := false // the instruction before is a call
	for at := 0; at < len(code) && a.f.spend(1); {
		here := from + uint64(at)
		if here > pc && start > pc {
			return span{}, false
		}
		if !a.m.decode(code[at:], here, &in) {
			if here >= pc {
				return span{start, here}, start <= pc
			}
			at += a.m.align
			start, furthest, padding = from+uint64(at), from+uint64(at), true
			continue
		}
		at += in.length
		next := from + uint64(at)
		if padding {
			if in.n == 0 && in.flow == flowNext && !landingPad(code[at-in.length:at]) {
				start = next // nothing but filling between functions
				continue
			}
			padding = false
		} else if called && here >= furthest && in.n == 0 && in.flow == flowNext && !landingPad(code[at-in.length:at]) {
			// Filling after a call that does not return.
			if here > pc {
				return span{start, here}, true
			}
			start, furthest, padding = next, next, true
			continue
		}
		called = in.flow == flowCall
		switch in.flow {
		case flowBranch, flowJump:
			if in.target > furthest && in.target >= start && in.target-start < uint64(a.limits.FunctionBytes) {
				if in.flow == flowBranch || in.target < next+jumpNear {
					furthest = in.target
				}
			}
		}
		switch in.flow {
		case flowJump, flowReturn, flowStop:
			if next > furthest {
				if next > pc {
					return span{start, next}, true
				}
				start, furthest, padding = next, next, true
			}
		}
	}
	return span{start, from + uint64(len(code))}, start <= pc
}

const (
	outlineBack = 4096 // bytes before a place to begin where no call target is near
	jumpNear    = 256  // bytes that a jump forward within a function spans at most
)

// landingPad recognises endbr64 and the arm64 hints that begin a function.
func landingPad(code []byte) bool {
	if len(code) != 4 {
		return false
	}
	switch le.Uint32(code) {
	case 0xfa1e0ff3, 0xd503245f, 0xd503233f, 0xd503237f:
		return true
	}
	return false
}

// rangeEnd is where code that may belong to the function at pc ends.
func (a *analysis) rangeEnd(pc uint64) uint64 {
	for _, r := range a.f.code {
		if r.holds(pc) {
			return min(pc+outlineOn, r.end)
		}
	}
	return pc + uint64(a.m.longest)
}

const outlineOn = 64 << 10

// covering returns for each address, in order, the function symbol around it.
func (f *File) covering(addrs []uint64) []span {
	out := make([]span, len(addrs))
	for _, t := range f.tables() {
		t.each(f.c, func(_ int, s symbol) bool {
			if !s.defined || !s.function || s.size == 0 || s.addr+s.size < s.addr {
				return true
			}
			i, _ := slices.BinarySearch(addrs, s.addr)
			for ; i < len(addrs) && addrs[i]-s.addr < s.size && f.spend(1); i++ {
				out[i] = span{s.addr, s.addr + s.size}
			}
			return true
		})
	}
	return out
}
