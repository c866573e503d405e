package absint

import (
	"slices"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
)

const (
	maxVisits      = 24 // of one block, after which its state is final
	maxCopy        = 256
	maxBlocksOfOne = 1 << 14
	// cellsPerStep is how many cells cost as much to join as an instruction to
	// interpret.
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
	// watched are the places that must be reached.
	watched []uint64
	// all asks for everything to be reached.
	all bool
	// isGo says that the function was compiled by Go's own compiler.
	isGo    bool
	Visited map[uint64]bool
	// reachesSink are the blocks to interpret, nil for all.
	reachesSink map[uint64]bool
	// pass is how far unreached has come.
	pass int
	// switches is the join of the states at indirect jumps, calls of those at
	// calls.
	switches, calls *state
	observe         bool
	Seen            []CallSite
	// exit is the join of the states at returns.
	exit *state
	// leaves says that some way goes on in another function.
	leaves bool
}

type basicBlock struct {
	in     *state
	visits int
}

// Run interprets every path of the function from entry to the watched places, or
// to its end. It returns false when a limit is met.
func (a *Interpreter) Run(where elffile.Span, entry uint64, watched []uint64, all bool) (*Run, bool) {
	if where.End-where.Start > uint64(a.File.Limits.FunctionBytes) {
		return nil, false
	}
	r := &Run{a: a, span: where, entry: entry, blocks: map[uint64]*basicBlock{}, watched: watched, all: all, Visited: map[uint64]bool{}}
	r.isGo = a.Functions.IsGo(entry)
	r.code = slices.Clone(a.File.FunctionCode(where))
	after := r.leaders()
	start := &state{}
	for i := range start.regs {
		start.regs[i] = a.Values.symbol(Origin{Kind: SymbolRegister, Reg: isa.Reg(i)})
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
		// Cases of a switch and exception handlers are entered from nowhere
		// that was followed: give them what holds at the indirect jumps.
		next, ok := r.unreached(after)
		if !ok {
			break
		}
		s := r.switches
		if s == nil {
			s = r.calls
		}
		if s == nil {
			s = start
		}
		r.enqueue(next, s)
	}
	r.observe = true
	addrs := make([]uint64, 0, len(r.blocks))
	for addr, b := range r.blocks {
		if b.in != nil {
			addrs = append(addrs, addr)
		}
	}
	slices.Sort(addrs)
	for _, addr := range addrs {
		if !r.block(addr, r.blocks[addr].in.clone()) {
			return nil, false
		}
	}
	return r, true
}

// goState puts Go's zero register in place.
func (r *Run) goState(s *state) {
	if z := r.a.Machine.GoZero; r.isGo && z != isa.RegNone {
		s.regs[z], s.regs[z+1] = Const(0), Const(0)
	}
}

// leaders decodes the function from start to end to find where blocks begin,
// and returns the addresses that follow an instruction which does not go on.
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
			if r.span.Holds(in.Target) && len(r.blocks) < maxBlocksOfOne {
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

// unreached returns the first address that control does not seem to reach,
// while a watched place has not been reached.
func (r *Run) unreached(after []uint64) (uint64, bool) {
	for len(r.watched) > 0 && r.Visited[r.watched[0]] {
		r.watched = r.watched[1:]
	}
	if !r.all && len(r.watched) == 0 {
		return 0, false
	}
	// What no jump goes to directly comes first: the rest may follow from it.
	// Nothing that was reached is ever unreached again, so that each pass goes
	// over the addresses once.
	for ; r.pass < 2*len(after); r.pass++ {
		addr := after[r.pass%len(after)]
		direct := r.pass >= len(after)
		b := r.blocks[addr]
		if r.span.Holds(addr) && !r.Visited[addr] && (r.reachesSink == nil || r.reachesSink[addr]) && (b == nil || b.in == nil) && (b != nil) == direct {
			return addr, true
		}
	}
	return 0, false
}

// enqueue joins s into the block at addr and queues it if that changed it.
func (r *Run) enqueue(addr uint64, s *state) {
	if r.reachesSink != nil && !r.reachesSink[addr] {
		return
	}
	b := r.blocks[addr]
	if b == nil {
		if len(r.blocks) >= maxBlocksOfOne {
			return
		}
		b = &basicBlock{}
		r.blocks[addr] = b
	}
	r.a.steps -= len(s.cells) / cellsPerStep
	if b.in == nil {
		b.in = s.clone()
	} else if was, is := b.in.regs[r.a.Machine.SP], s.regs[r.a.Machine.SP]; was != is && was.Kind == KindStack && is.Kind == KindStack {
		return // no program comes to one place with two depths of stack: this way goes past a call that does not return
	} else if b.visits >= maxVisits || !b.in.join(r.a.Values, s, r.a.Initial) {
		return
	}
	if i, queued := slices.BinarySearch(r.worklist, addr); !queued {
		r.worklist = slices.Insert(r.worklist, i, addr)
	}
}

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

// block interprets from addr to the end of the block.
func (r *Run) block(addr uint64, s *state) bool {
	a := r.a
	var in isa.Insn
	for pc := addr; r.span.Holds(pc); {
		if pc != addr {
			if _, leader := r.blocks[pc]; leader {
				if !r.observe {
					r.enqueue(pc, s)
				}
				return true
			}
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
		case isa.FlowJump:
			if !r.tailCall(s, in.Target, pc) {
				r.branchTo(in.Target, s)
			}
			return true
		case isa.FlowBranch:
			if !r.tailCall(s, in.Target, pc) {
				r.branchTo(in.Target, s)
			}
		case isa.FlowCall:
			r.call(s, Const(in.Target), pc, a.Machine.CallPush)
			if !a.returns(Const(in.Target)) {
				return true
			}
		case isa.FlowCallIndirect, isa.FlowJumpIndirect:
			v := r.callee(s, &in)
			if in.Flow == isa.FlowJumpIndirect {
				r.leaves = true
				if len(a.sinksOf(v)) > 0 {
					r.call(s, v, pc, 0)
				} else if r.switches == nil {
					r.switches = s.clone()
				} else if !r.observe {
					r.switches.join(a.Values, s, a.Initial)
				}
				return true
			}
			r.call(s, v, pc, a.Machine.CallPush)
		case isa.FlowSyscall:
			r.kernel(s, pc)
		case isa.FlowReturn:
			r.recordExit(s)
			return true
		case isa.FlowStop:
			return true
		}
		pc += uint64(in.Length)
	}
	return true
}

// recordExit notes the state at a return, and header versions left in globals.
func (r *Run) recordExit(s *state) {
	if !r.observe {
		return
	}
	if r.exit == nil {
		r.exit = s.clone()
		return
	}
	r.exit.join(r.a.Values, s, r.a.Initial)
}

func (r *Run) branchTo(target uint64, s *state) {
	if !r.span.Holds(target) {
		r.leaves = true
	} else if !r.observe {
		r.enqueue(target, s)
	}
}
