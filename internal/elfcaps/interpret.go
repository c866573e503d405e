package elfcaps

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

// sighting is what a call passes, as seen at one place.
type sighting struct {
	pc   uint64
	sink *sink
	// span is the function, entered at entry.
	span  elffile.Span
	entry uint64
	// The values are in terms of the function's own entry.
	number, header, version, data value
	// how number, header and version came to be.
	how [3]trail
}

// run is the interpretation of one function.
type run struct {
	a      *analysis
	span   elffile.Span
	entry  uint64
	code   []byte
	blocks map[uint64]*block
	queue  []uint64
	// watched are the places that must be reached.
	watched []uint64
	// all asks for everything to be reached.
	all bool
	// isGo says that the function was compiled by Go's own compiler.
	isGo    bool
	visited map[uint64]bool
	// useful are the blocks to interpret, nil for all.
	useful map[uint64]bool
	// pass is how far unreached has come.
	pass int
	// switches is the join of the states at indirect jumps, calls of those at
	// calls.
	switches, calls *state
	observe         bool
	seen            []sighting
	// exit is the join of the states at returns.
	exit *state
	// leaves says that some way goes on in another function.
	leaves bool
}

type block struct {
	in     *state
	visits int
}

// interpret follows every path of the function from entry and returns what the
// calls of known sinks pass. It gives up, returning false, when a limit is met.
func (a *analysis) interpret(where elffile.Span, entry uint64, watched []uint64) ([]sighting, bool) {
	r, ok := a.follow(where, entry, watched, watched == nil)
	if !ok {
		return nil, false
	}
	return r.seen, true
}

func (a *analysis) follow(where elffile.Span, entry uint64, watched []uint64, all bool) (*run, bool) {
	if where.End-where.Start > uint64(a.f.Limits.FunctionBytes) {
		return nil, false
	}
	r := &run{a: a, span: where, entry: entry, blocks: map[uint64]*block{}, watched: watched, all: all, visited: map[uint64]bool{}}
	r.isGo = a.fns.IsGo(entry)
	r.code = slices.Clone(a.f.FunctionCode(where))
	after := r.leaders()
	start := &state{}
	for i := range start.regs {
		start.regs[i] = a.names.symbol(origin{kind: symbolRegister, reg: isa.Reg(i)})
	}
	start.regs[a.m.SP] = value{kind: kindStack}
	if a.explain {
		start.trails = new([isa.NumRegs]trail)
	}
	r.goState(start)
	r.arrive(entry, start)
	for {
		if !r.drain() {
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
		r.arrive(next, s)
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
func (r *run) goState(s *state) {
	if z := r.a.m.GoZero; r.isGo && z != isa.RegNone {
		s.regs[z], s.regs[z+1] = constant(0), constant(0)
	}
}

// leaders decodes the function from start to end to find where blocks begin,
// and returns the addresses that follow an instruction which does not go on.
func (r *run) leaders() (after []uint64) {
	code := r.code
	var in isa.Insn
	var o outlineBlocks
	o.starts = append(o.starts, r.span.Start, r.entry)
	for at := 0; at < len(code) && r.a.f.Spend(1); {
		pc := r.span.Start + uint64(at)
		if !r.a.m.Decode(code[at:], pc, &in) {
			at += r.a.m.Alignment
			continue
		}
		at += in.Length
		next := r.span.Start + uint64(at)
		end := blockEnd{pc: pc, target: in.Target, next: next}
		switch in.Flow {
		case isa.FlowJump, isa.FlowBranch:
			if r.span.Holds(in.Target) && len(r.blocks) < maxBlocksOfOne {
				r.blocks[in.Target] = &block{}
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
		r.useful = o.useful(r.span, r.watched)
	}
	r.blocks[r.entry] = &block{}
	return after
}

// unreached returns the first address that control does not seem to reach,
// while a watched place has not been reached.
func (r *run) unreached(after []uint64) (uint64, bool) {
	for len(r.watched) > 0 && r.visited[r.watched[0]] {
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
		if r.span.Holds(addr) && !r.visited[addr] && (r.useful == nil || r.useful[addr]) && (b == nil || b.in == nil) && (b != nil) == direct {
			return addr, true
		}
	}
	return 0, false
}

// arrive joins s into the block at addr and queues it if that changed it.
func (r *run) arrive(addr uint64, s *state) {
	if r.useful != nil && !r.useful[addr] {
		return
	}
	b := r.blocks[addr]
	if b == nil {
		if len(r.blocks) >= maxBlocksOfOne {
			return
		}
		b = &block{}
		r.blocks[addr] = b
	}
	r.a.steps -= len(s.cells) / cellsPerStep
	if b.in == nil {
		b.in = s.clone()
	} else if was, is := b.in.regs[r.a.m.SP], s.regs[r.a.m.SP]; was != is && was.kind == kindStack && is.kind == kindStack {
		return // no program comes to one place with two depths of stack: this way goes past a call that does not return
	} else if b.visits >= maxVisits || !b.in.join(r.a.names, s, r.a.initial) {
		return
	}
	if i, queued := slices.BinarySearch(r.queue, addr); !queued {
		r.queue = slices.Insert(r.queue, i, addr)
	}
}

func (r *run) drain() bool {
	for len(r.queue) > 0 {
		addr := r.queue[0]
		r.queue = r.queue[1:]
		b := r.blocks[addr]
		b.visits++
		if !r.block(addr, b.in.clone()) {
			return false
		}
	}
	return true
}

// block interprets from addr to the end of the block.
func (r *run) block(addr uint64, s *state) bool {
	a := r.a
	var in isa.Insn
	for pc := addr; r.span.Holds(pc); {
		if pc != addr {
			if _, leader := r.blocks[pc]; leader {
				if !r.observe {
					r.arrive(pc, s)
				}
				return true
			}
		}
		if a.steps--; a.steps < 0 {
			return false
		}
		r.visited[pc] = true
		if !a.m.Decode(r.code[min(pc-r.span.Start, uint64(len(r.code))):], pc, &in) {
			return true
		}
		ops := in.Ops()
		for i := range ops {
			a.step(s, &ops[i], pc)
		}
		in.Target = a.p.LocalTarget(in.Target)
		switch in.Flow {
		case isa.FlowJump:
			if !r.leave(s, in.Target, pc) {
				r.follow(in.Target, s)
			}
			return true
		case isa.FlowBranch:
			if !r.leave(s, in.Target, pc) {
				r.follow(in.Target, s)
			}
		case isa.FlowCall:
			r.call(s, constant(in.Target), pc, a.m.CallPush)
			if !a.returns(constant(in.Target)) {
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
					r.switches.join(a.names, s, a.initial)
				}
				return true
			}
			r.call(s, v, pc, a.m.CallPush)
		case isa.FlowSyscall:
			r.kernel(s, pc)
		case isa.FlowReturn:
			r.leaveWith(s)
			return true
		case isa.FlowStop:
			return true
		}
		pc += uint64(in.Length)
	}
	return true
}

// leaveWith notes the state at a return, and header versions left in globals.
func (r *run) leaveWith(s *state) {
	if !r.observe {
		return
	}
	if r.exit == nil {
		r.exit = s.clone()
		return
	}
	r.exit.join(r.a.names, s, r.a.initial)
}

func (r *run) follow(target uint64, s *state) {
	if !r.span.Holds(target) {
		r.leaves = true
	} else if !r.observe {
		r.arrive(target, s)
	}
}

// instruction says that an instruction begins at pc when the function is decoded
// from its start.
func (r *run) instruction(pc uint64) bool {
	var in isa.Insn
	found := false
	r.a.p.Sweep(r.span, r.code, &in, func(at uint64) bool {
		found = at == pc
		return at < pc
	})
	return found
}
