package codescan

import (
	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
)

// Bounds of Outline, in bytes.
const (
	outlineBefore  = 4096 // start of decoding below pc if no call target is near
	outlineAfter   = 64 << 10
	maxJumpForward = 256 // of an unconditional jump within a function
)

// Outline estimates the bounds of the function that contains pc. target is a call target
// at or below pc, or 0 if unknown. A function ends at a return, a jump or a trap that no
// earlier jump passes over.
func (p *Program) Outline(pc, target uint64) (elffile.Span, bool) {
	from := target
	padding := false // between functions; a call target starts a function
	if from == 0 || pc-from > uint64(p.file.Limits.FunctionBytes) {
		if !p.machine.FixedLength() {
			return elffile.Span{}, false
		}
		from, padding = pc-min(pc, outlineBefore), true
		for _, r := range p.file.Code {
			if r.Holds(pc) {
				from = max(from, r.Start)
			}
		}
	}
	code := p.file.FunctionCode(elffile.Span{Start: from, End: p.outlineEnd(pc)})
	var in isa.Insn
	start, furthest := from, from // furthest is the highest jump target
	afterCall := false
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
		filler := len(in.Ops()) == 0 && in.Flow == isa.FlowNext && !p.machine.IsLandingPad(code[at:at+in.Length])
		at += in.Length
		next := from + uint64(at)
		if padding {
			if filler {
				start = next
				continue
			}
			padding = false
		} else if filler && afterCall && here >= furthest { // the call does not return
			if here > pc {
				return elffile.Span{Start: start, End: here}, true
			}
			start, furthest, padding = next, next, true
			continue
		}
		afterCall = in.Flow == isa.FlowCall
		if in.Flow == isa.FlowBranch || in.Flow == isa.FlowJump && in.Target < next+maxJumpForward {
			if in.Target > furthest && in.Target >= start && in.Target-start < uint64(p.file.Limits.FunctionBytes) {
				furthest = in.Target
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

// outlineEnd returns the end of the code to decode.
func (p *Program) outlineEnd(pc uint64) uint64 {
	for _, r := range p.file.Code {
		if r.Holds(pc) {
			return min(pc+outlineAfter, r.End)
		}
	}
	return pc + uint64(p.machine.MaxLength)
}
