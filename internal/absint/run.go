package absint

import (
	"cmp"
	"maps"
	"slices"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
)

// Limits of one function.
const (
	maxVisits      = 128 // of one block; its state is final then
	maxCopy        = 256
	maxLiteral     = 4096 // bytes of one fill or copy
	maxCells       = 512  // of one state
	maxBlocksOfOne = 1 << 14
	// cellsPerStep is the number of cells whose join costs as much as one
	// instruction.
	cellsPerStep = 16
)

// Run is the interpretation of one function.
type Run struct {
	a        *Interpreter
	span     elffile.Span
	entry    uint64
	code     []byte
	blocks   map[uint64]*basicBlock
	worklist []uint64
	// watched are the call sites to reach, sorted. all asks for the whole function.
	watched []uint64
	all     bool
	// isGo reports whether the Go compiler made the function.
	isGo bool
	// Visited are the addresses of interpreted instructions.
	Visited map[uint64]bool
	// reachesSink are the basic blocks to interpret, nil for all.
	reachesSink map[uint64]bool
	// pass counts the addresses that unreached has checked.
	pass int
	// switches is the join of the states at indirect jumps, calls that of the states
	// after calls.
	switches, calls *state
	// observe is set for the last pass, over the fixed point.
	observe bool
	// Seen are the calls of sinks.
	Seen []CallSite
	// exit is the join of the states at returns, nil without a return.
	exit *state
	// leaves reports whether a path continues in another function.
	leaves bool
}

// basicBlock is the state at the start of a block, nil before the first visit.
type basicBlock struct {
	in     *state
	visits int
}

// Run interprets the function from entry along every path that reaches a watched
// call site, or along every path at all. It iterates to a fixed point, then makes
// one pass that records calls. It returns false when a limit is met.
func (a *Interpreter) Run(where elffile.Span, entry uint64, watched []uint64, all bool) (*Run, bool) {
	if where.End-where.Start > uint64(a.File.Limits.FunctionBytes) {
		return nil, false
	}
	r := &Run{
		a: a, span: where, entry: entry, blocks: map[uint64]*basicBlock{}, watched: watched, all: all, Visited: map[uint64]bool{},
		isGo: a.Functions.IsGo(entry), code: slices.Clone(a.File.FunctionCode(where)),
	}
	after := r.leaders()
	start := &state{}
	for i := range start.regs {
		start.regs[i] = a.Register(isa.Reg(i))
	}
	start.regs[a.Machine.SP] = Value{Kind: KindStack}
	if a.Explain {
		start.trails = new([isa.NumRegs]Trail)
	}
	r.goState(start)
	r.enqueue(entry, start)
	for {
		if !r.runWorklist() {
			return nil, false
		}
		// Cases of a switch and exception handlers have no direct
		// predecessor: they get the state at indirect jumps, or at calls.
		next, ok := r.unreached(after)
		if !ok {
			break
		}
		r.enqueue(next, cmp.Or(r.switches, r.calls, start))
	}
	r.observe = true
	addrs := slices.AppendSeq(make([]uint64, 0, len(r.blocks)), maps.Keys(r.blocks))
	slices.Sort(addrs)
	for _, addr := range addrs {
		if b := r.blocks[addr]; b.in != nil && !r.block(addr, b.in.clone()) {
			return nil, false
		}
	}
	return r, true
}

// goState sets Go's zero register.
func (r *Run) goState(s *state) {
	if z := r.a.Machine.GoZero; r.isGo && z != isa.RegNone {
		s.regs[z], s.regs[z+1] = Const(0), Const(0)
	}
}

// leaders decodes the function from start to end to find the starts of basic blocks.
// It returns the addresses behind instructions that control does not pass.
func (r *Run) leaders() (after []uint64) {
	code := r.code
	var in isa.Insn
	var o blocks
	o.starts = append(o.starts, r.span.Start, r.entry)
	for at := 0; at < len(code) && r.a.File.Spend(1); {
		pc := r.span.Start + uint64(at)
		if !r.a.Machine.Decode(code[at:], pc, &in) {
			at += r.a.Machine.Alignment
			continue
		}
		at += in.Length
		next := r.span.Start + uint64(at)
		end := blockEnd{pc: pc, target: in.Target, next: next}
		switch in.Flow {
		case isa.FlowJump, isa.FlowBranch:
			if r.span.Holds(in.Target) && r.room() {
				r.blocks[in.Target] = &basicBlock{}
				o.starts = append(o.starts, in.Target)
			}
			end.goesOn = in.Flow == isa.FlowBranch
		case isa.FlowJumpIndirect:
			end.away = true
		case isa.FlowReturn, isa.FlowStop:
		default:
			continue
		}
		if !end.goesOn {
			after = append(after, next)
		}
		o.starts = append(o.starts, next)
		o.ends = append(o.ends, end)
	}
	if len(r.watched) > 0 && !r.all {
		r.reachesSink = o.reachesSink(r.span, r.watched)
	}
	r.blocks[r.entry] = &basicBlock{}
	return after
}

// unreached returns the first address without a known predecessor, until all sites are reached.
func (r *Run) unreached(after []uint64) (uint64, bool) {
	for len(r.watched) > 0 && r.Visited[r.watched[0]] {
		r.watched = r.watched[1:]
	}
	if !r.all && len(r.watched) == 0 {
		return 0, false
	}
	// Addresses without a direct jump come first, since they may lead to the
	// others. A reached address stays reached, so two passes suffice.
	for ; r.pass < 2*len(after); r.pass++ {
		addr := after[r.pass%len(after)]
		direct := r.pass >= len(after)
		b := r.blocks[addr]
		wanted := r.reachesSink == nil || r.reachesSink[addr]
		if wanted && r.span.Holds(addr) && !r.Visited[addr] && (b == nil || b.in == nil) && (b != nil) == direct {
			return addr, true
		}
	}
	return 0, false
}

// enqueue joins s into the block at addr and puts a changed block on the worklist.
func (r *Run) enqueue(addr uint64, s *state) {
	if r.reachesSink != nil && !r.reachesSink[addr] {
		return
	}
	b := r.blocks[addr]
	if b == nil {
		if !r.room() {
			return
		}
		b = &basicBlock{}
		r.blocks[addr] = b
	}
	r.a.steps -= len(s.cells) / cellsPerStep
	if b.in == nil {
		b.in = s.clone()
	} else if was, is := b.in.regs[r.a.Machine.SP], s.regs[r.a.Machine.SP]; was != is && was.Kind == KindStack && is.Kind == KindStack {
		// Two stack depths at one address: this path continues behind a call
		// that does not return.
		return
	} else if !b.in.join(r.a.Values, s, r.a.Initial) {
		return
	} else if b.visits >= maxVisits {
		r.a.cut("the block at %#x of the function at %#x was interpreted more than %d times", addr, r.span.Start, maxVisits)
		return
	}
	if i, queued := slices.BinarySearch(r.worklist, addr); !queued {
		r.worklist = slices.Insert(r.worklist, i, addr)
	}
}

// room reports whether another basic block fits the limit.
func (r *Run) room() bool {
	if len(r.blocks) >= maxBlocksOfOne {
		r.a.cut("the function at %#x has more than %d basic blocks", r.span.Start, maxBlocksOfOne)
	}
	return len(r.blocks) < maxBlocksOfOne
}

// runWorklist interprets blocks until the worklist is empty.
func (r *Run) runWorklist() bool {
	for len(r.worklist) > 0 {
		addr := r.worklist[0]
		r.worklist = r.worklist[1:]
		b := r.blocks[addr]
		b.visits++
		if !r.block(addr, b.in.clone()) {
			return false
		}
	}
	return true
}

// block interprets one basic block from addr.
func (r *Run) block(addr uint64, s *state) bool {
	a := r.a
	var in isa.Insn
	for pc := addr; r.span.Holds(pc); {
		if _, leader := r.blocks[pc]; leader && pc != addr {
			if !r.observe {
				r.enqueue(pc, s)
			}
			return true
		}
		if a.steps--; a.steps < 0 {
			return false
		}
		r.Visited[pc] = true
		if !a.Machine.Decode(r.code[min(pc-r.span.Start, uint64(len(r.code))):], pc, &in) {
			return true
		}
		ops := in.Ops()
		for i := range ops {
			a.step(s, &ops[i], pc)
		}
		in.Target = a.code.LocalTarget(in.Target)
		switch in.Flow {
		case isa.FlowJump, isa.FlowBranch:
			if !r.tailCall(s, in.Target, pc) {
				r.branchTo(in.Target, s)
			}
			if in.Flow == isa.FlowJump {
				return true
			}
		case isa.FlowCall:
			r.call(s, Const(in.Target), pc, a.Machine.CallPush)
			if !a.returns(Const(in.Target)) {
				return true
			}
		case isa.FlowCallIndirect, isa.FlowJumpIndirect:
			v := a.get(s, in.Callee)
			if in.CalleeMem {
				v = a.load(s, a.address(s, &in.Mem), 8)
			}
			if in.Flow == isa.FlowJumpIndirect {
				r.leaves = true
				if len(a.sinksOf(v)) > 0 {
					r.call(s, v, pc, 0)
				} else if !r.observe {
					r.switches = r.joined(r.switches, s)
				}
				return true
			}
			r.call(s, v, pc, a.Machine.CallPush)
		case isa.FlowSyscall:
			r.kernel(s, pc)
		case isa.FlowReturn:
			if r.observe {
				r.exit = r.joined(r.exit, s)
			}
			return true
		case isa.FlowStop:
			return true
		}
		pc += uint64(in.Length)
	}
	return true
}

// joined returns the join of the states, of which the first may be nil.
func (r *Run) joined(all, s *state) *state {
	if all == nil {
		return s.clone()
	}
	all.join(r.a.Values, s, r.a.Initial)
	return all
}

// branchTo enqueues the target of a jump.
func (r *Run) branchTo(target uint64, s *state) {
	if !r.span.Holds(target) {
		r.leaves = true
	} else if !r.observe {
		r.enqueue(target, s)
	}
}
