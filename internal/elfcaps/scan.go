package elfcaps

import "slices"

// hit is one place of interest in the code and what it refers to.
type hit struct {
	pc, target uint64
	// from is where the address was computed, when that is elsewhere.
	from uint64
}

// query is what one pass over the code looks for.
type query struct {
	// first asks for kernel entries and header constants, imports for uses of
	// import slots.
	first, imports bool
	// targets are addresses whose calls, jumps and takings are wanted.
	targets map[uint64]bool
	filter  *bloom
	// slots are addresses of data whose use is wanted, as that of import slots.
	slots map[uint64]uint64
	// takings are addresses of code whose taking is wanted.
	takings map[uint64]bool
	// fragments are ranges; jumps into their middle are wanted.
	fragments []span
	// points are places whose function's start is not known: the highest call
	// target not above each is wanted.
	points []uint64
	// marks takes down every call target, list every call and jump.
	marks *callMarks
	list  *transfers
	limit int
}

func newQuery(limit int) *query {
	return &query{targets: map[uint64]bool{}, filter: new(bloom), limit: limit}
}

func (q *query) want(target uint64) {
	q.targets[target] = true
	q.filter.add(target)
}

// taking notes a place that computes an address.
func (f *findings) taking(q *query, pc, target uint64) {
	if _, wanted := q.takings[target]; wanted {
		f.takings = append(f.takings, hit{pc: pc, target: target})
	}
}

// transfers says that calls and jumps are wanted.
func (q *query) transfers() bool {
	return len(q.targets)+len(q.fragments)+len(q.points) > 0 || q.marks != nil || q.list != nil
}

// findings is what a pass found, in address order.
type findings struct {
	kernel []uint64
	slots  []hit // uses of an import slot that are not in a stub
	// takings are places that compute a wanted address.
	takings []hit
	stubs   []hit // stub and slot
	consts  []uint64
	calls   []hit
	jumps   []hit
	starts  []uint64 // parallel to query.points
	// overflow says that more was there than the limit allows.
	overflow bool
}

func (f *findings) full(q *query) bool {
	if len(f.kernel)+len(f.slots)+len(f.stubs)+len(f.calls)+len(f.jumps)+len(f.consts)+len(f.takings) < q.limit {
		return false
	}
	f.overflow = true
	return true
}

// transfer notes a call or jump.
func (f *findings) transfer(q *query, pc, target uint64, call bool) {
	if q.list != nil {
		q.list.add(pc, target, call)
	}
	if q.filter.may(target) && q.targets[target] {
		f.calls = append(f.calls, hit{pc: pc, target: target})
	}
	if !call {
		for _, s := range q.fragments[:min(len(q.fragments), maxFragments)] {
			if target > s.start && target < s.end && !s.holds(pc) {
				f.jumps = append(f.jumps, hit{pc: pc, target: target})
			}
		}
		return
	}
	q.marks.set(target)
	if len(q.points) > 0 {
		// Points are sorted: note the target at the first one not below it.
		if i, _ := slices.BinarySearch(q.points, target); i < len(q.points) && target > f.starts[i] {
			f.starts[i] = target
		}
	}
}

// codeRanges are the ranges that hold instructions: executable sections, or
// whole executable segments where sections are missing or leave out the entry
// point. complete is false when there is more than the limit.
func (f *File) codeRanges() (ranges []span, complete bool) {
	entry := false
	for _, s := range f.c.sections {
		if s.kind != secProgbits || s.flags&(secFlagAlloc|secFlagExec) != secFlagAlloc|secFlagExec {
			continue
		}
		if seg := f.mem.segmentOf(s.addr); seg == nil || !seg.exe || s.addr+s.size < s.addr {
			continue
		}
		r := span{s.addr, s.addr + s.size}
		entry = entry || r.holds(f.c.entry)
		ranges = append(ranges, r)
	}
	if !entry && (f.c.entry != 0 || len(ranges) == 0) {
		ranges = nil
		for _, s := range f.mem.loads {
			if s.exe {
				ranges = append(ranges, span{s.vaddr, s.vaddr + s.filesz})
			}
		}
	}
	complete = true
	left := uint64(f.limits.CodeBytes)
	for i, r := range ranges {
		n := min(r.end-r.start, left)
		if n < r.end-r.start {
			complete = false
		}
		ranges[i].end, left = r.start+n, left-n
	}
	return ranges, complete
}

// scan makes one pass over the ranges of code.
func (f *File) scan(m *machine, q *query, ranges []span) findings {
	out := findings{starts: make([]uint64, len(q.points))}
	if f.buf == nil {
		f.buf = make([]byte, chunkSize+scanOverlap+scanPadding)
	}
	for _, r := range ranges {
		off, room := f.mem.inFile(r.start)
		size := min(r.end-r.start, room)
		s := newScanner(f, m, q)
		for done := uint64(0); done < size && !out.full(q); {
			n := min(size-done, chunkSize)
			total := min(size-done, n+scanOverlap)
			b := f.buf[:total+scanPadding]
			clear(b[total:])
			if readFull(f.c.r, b[:total], int64(off+done)) != nil {
				break
			}
			s.chunk(q, &out, b, int(n), r.start+done)
			done += n
		}
	}
	f.finish(m, q, &out)
	return out
}

// finish adds what a pass leaves for the end.
func (f *File) finish(m *machine, q *query, out *findings) {
	if m.align == 1 {
		f.shortJumps(q, out)
	}
	for i := 1; i < len(out.starts); i++ {
		out.starts[i] = max(out.starts[i], out.starts[i-1])
	}
}

// maxFragments is how many ranges one pass watches for jumps into them.
const maxFragments = 64

// scanOverlap is how many bytes of the next chunk a scanner may look at.
const scanOverlap = 64

// stubRanges splits the code into linkage stubs, where sections tell them
// apart, and the rest.
func (f *File) stubRanges() (stubs, rest []span) {
	for _, r := range f.code {
		in := false
		for _, s := range f.c.sections {
			in = in || s.addr == r.start && len(s.name) >= 4 && s.name[:4] == ".plt"
		}
		if in {
			stubs = append(stubs, r)
		} else {
			rest = append(rest, r)
		}
	}
	return stubs, rest
}

// scanPadding is how many zero bytes stand behind the last chunk.
const scanPadding = 16

func newScanner(f *File, m *machine, q *query) scanner {
	if m.name == "arm64" {
		return newScannerARM64(f, q)
	}
	return newScannerAMD64(f, q)
}

// scanner looks at one chunk of code: n bytes at pc, with what follows in b.
type scanner interface {
	chunk(q *query, out *findings, b []byte, n int, pc uint64)
}
