package codescan

import (
	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
)

// locate finds the functions of addresses that no table covers: by symbols, then by
// the nearest call target below.
func (p *Program) locate(lost []uint64) []Group {
	if len(lost) == 0 {
		return nil
	}
	var groups []Group
	covered := p.file.FunctionSymbols(lost)
	var rest []uint64
	for i, pc := range lost {
		if s := covered[i]; s.End != 0 {
			groups = addSite(groups, s, pc)
			continue
		}
		rest = append(rest, pc)
	}
	if len(rest) == 0 {
		return groups
	}
	starts := make([]uint64, len(rest))
	if p.callTargets != nil {
		for i, pc := range rest {
			starts[i] = p.callTargets.last(pc)
		}
	} else {
		q := p.NewQuery()
		q.Points = rest
		starts = p.Branches(q).starts
	}
	for i, pc := range rest {
		s, ok := p.Outline(pc, starts[i])
		if !ok {
			continue // data, or code without a caller
		}
		groups = addSite(groups, s, pc)
	}
	return groups
}

// addSite adds an address to the last group, or to a new one for another function.
func addSite(groups []Group, s elffile.Span, pc uint64) []Group {
	if n := len(groups); n > 0 && groups[n-1].Span == s {
		groups[n-1].Sites = append(groups[n-1].Sites, pc)
		return groups
	}
	return append(groups, Group{s, true, []uint64{pc}})
}

// Outline finds the bounds of the function that holds pc by decoding from a call
// target below it. A function ends at an instruction that control does not pass,
// unless an earlier jump leads past it.
func (p *Program) Outline(pc, from uint64) (elffile.Span, bool) {
	// A call target begins a function, even if its first instruction is a nop.
	padding := false
	if from == 0 || pc-from > uint64(p.file.Limits.FunctionBytes) {
		if !p.machine.FixedLength() {
			return elffile.Span{}, false
		}
		from, padding = pc-min(pc, outlineBack), true
		for _, r := range p.file.Code {
			if r.Holds(pc) {
				from = max(from, r.Start)
			}
		}
	}
	code := p.file.FunctionCode(elffile.Span{Start: from, End: p.rangeEnd(pc)})
	var in isa.Insn
	start, furthest := from, from
	called := false // by the previous instruction
	for at := 0; at < len(code) && p.file.Spend(1); {
		here := from + uint64(at)
		if here > pc && start > pc {
			return elffile.Span{}, false
		}
		if !p.machine.Decode(code[at:], here, &in) {
			if here >= pc {
				return elffile.Span{Start: start, End: here}, start <= pc
			}
			at += p.machine.Alignment
			start, furthest, padding = from+uint64(at), from+uint64(at), true
			continue
		}
		at += in.Length
		next := from + uint64(at)
		if padding {
			if len(in.Ops()) == 0 && in.Flow == isa.FlowNext && !p.machine.IsLandingPad(code[at-in.Length:at]) {
				start = next // padding between functions
				continue
			}
			padding = false
		} else if called && here >= furthest && len(in.Ops()) == 0 && in.Flow == isa.FlowNext && !p.machine.IsLandingPad(code[at-in.Length:at]) {
			// Padding after a call that does not return.
			if here > pc {
				return elffile.Span{Start: start, End: here}, true
			}
			start, furthest, padding = next, next, true
			continue
		}
		called = in.Flow == isa.FlowCall
		switch in.Flow {
		case isa.FlowBranch, isa.FlowJump:
			if in.Target > furthest && in.Target >= start && in.Target-start < uint64(p.file.Limits.FunctionBytes) {
				if in.Flow == isa.FlowBranch || in.Target < next+jumpNear {
					furthest = in.Target
				}
			}
		}
		switch in.Flow {
		case isa.FlowJump, isa.FlowReturn, isa.FlowStop:
			if next > furthest {
				if next > pc {
					return elffile.Span{Start: start, End: next}, true
				}
				start, furthest, padding = next, next, true
			}
		}
	}
	return elffile.Span{Start: start, End: from + uint64(len(code))}, start <= pc
}

const (
	outlineBack = 4096 // bytes decoded before an address without a near call target
	jumpNear    = 256  // bytes that a forward jump within a function spans
)

// rangeEnd returns the last possible end of the function that holds pc.
func (p *Program) rangeEnd(pc uint64) uint64 {
	for _, r := range p.file.Code {
		if r.Holds(pc) {
			return min(pc+outlineOn, r.End)
		}
	}
	return pc + uint64(p.machine.MaxLength)
}

const outlineOn = 64 << 10 // bytes decoded after an address
