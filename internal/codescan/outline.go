package codescan

import (
	"slices"

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
// earlier jump passes over. A zero Span means that it was not found.
func (p *Program) Outline(pc, target uint64) elffile.Span {
	bounds := elffile.Span{End: pc + uint64(p.machine.MaxLength)}
	if i := slices.IndexFunc(p.file.Code, func(r elffile.Span) bool { return r.Holds(pc) }); i >= 0 {
		bounds = p.file.Code[i]
	}
	from := target
	padding := false // between functions; a call target starts a function
	if from == 0 || pc-from > uint64(p.file.Limits.FunctionBytes) {
		if !p.machine.FixedLength() {
			return elffile.Span{}
		}
		from, padding = pc-min(pc, outlineBefore), true
		from = max(from, bounds.Start)
	}
	code := p.file.FunctionCode(elffile.Span{Start: from, End: min(pc+outlineAfter, bounds.End)})
	var in isa.Insn
	start, furthest := from, from // furthest is the highest jump target
	afterCall := false
	for at := 0; at < len(code) && p.file.Spend(1); {
		here := from + uint64(at)
		if here > pc && start > pc {
			return elffile.Span{}
		}
		if !p.machine.Decode(code[at:], here, &in) {
			if here >= pc {
				return elffile.Span{Start: start, End: here}
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
				return elffile.Span{Start: start, End: here}
			}
			start, furthest, padding = next, next, true
			continue
		}
		afterCall = in.Flow == isa.FlowCall
		inside := in.Flow == isa.FlowBranch || in.Flow == isa.FlowJump && in.Target < next+maxJumpForward
		if inside && in.Target >= start && in.Target-start < uint64(p.file.Limits.FunctionBytes) {
			furthest = max(furthest, in.Target)
		}
		switch in.Flow {
		case isa.FlowJump, isa.FlowReturn, isa.FlowStop:
			if next > furthest {
				if next > pc {
					return elffile.Span{Start: start, End: next}
				}
				start, furthest, padding = next, next, true
			}
		}
	}
	if start > pc {
		return elffile.Span{}
	}
	return elffile.Span{Start: start, End: from + uint64(len(code))}
}
