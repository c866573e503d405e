package elfcaps

import (
	"bytes"
	"slices"

	"github.com/capvet/capvet/internal/report"
)

// hit is one place of interest in the code and what it refers to.
type hit struct {
	pc, target uint64
	// from is where the address was computed, when that is elsewhere.
	from uint64
}

// query is what one pass over the code looks for.
type query struct {
	// first asks for kernel entries, uses of import slots and header constants.
	first bool
	// targets are addresses whose calls, jumps and takings are wanted.
	targets map[uint64]bool
	filter  *bloom
	// slots are addresses of data whose use is wanted, as that of import slots.
	slots map[uint64]bool
	// taking asks for places that take a target's address.
	taking bool
	// fragments are ranges; jumps into their middle are wanted.
	fragments []span
	// points are places whose function's start is not known: the highest call
	// target not above each is wanted.
	points []uint64
	// marks takes down every call target.
	marks *callMarks
	limit int
}

func newQuery(limit int) *query {
	return &query{targets: map[uint64]bool{}, filter: new(bloom), limit: limit}
}

func (q *query) want(target uint64) {
	q.targets[target] = true
	q.filter.add(target)
}

// findings is what a pass found, in address order.
type findings struct {
	kernel []uint64
	slots  []hit // uses of an import slot that are not in a stub
	stubs  []hit // stub and slot
	consts []uint64
	calls  []hit
	taken  map[uint64]bool
	jumps  []hit
	starts []uint64 // parallel to query.points
	// overflow says that more was there than the limit allows.
	overflow bool
}

func (f *findings) full(q *query) bool {
	if len(f.kernel)+len(f.slots)+len(f.stubs)+len(f.calls)+len(f.jumps)+len(f.consts) < q.limit {
		return false
	}
	f.overflow = true
	return true
}

// transfer notes a call or jump.
func (f *findings) transfer(q *query, pc, target uint64, call bool) {
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

func (f *findings) take(q *query, target uint64) {
	if q.filter.may(target) && q.targets[target] {
		f.taken[target] = true
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
	out := findings{taken: map[uint64]bool{}, starts: make([]uint64, len(q.points))}
	if f.buf == nil {
		f.buf = make([]byte, chunkSize+scanOverlap+scanPadding)
	}
	amd64 := newScannerAMD64(f, q)
	for _, r := range ranges {
		off, room := f.mem.inFile(r.start)
		size := min(r.end-r.start, room)
		var s scanner = amd64
		if m.name == "arm64" {
			s = &scannerARM64{f: f}
		}
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
	if m.align == 1 {
		f.shortJumps(q, &out)
	}
	for i := 1; i < len(out.starts); i++ {
		out.starts[i] = max(out.starts[i], out.starts[i-1])
	}
	return out
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

// scanner looks at one chunk of code: n bytes at pc, with what follows in b.
type scanner interface {
	chunk(q *query, out *findings, b []byte, n int, pc uint64)
}

// scannerARM64 keeps what it saw before a chunk's start.
type scannerARM64 struct {
	f     *File
	pages [32]struct {
		pc, page uint64
		bti      bool
	}
	last struct {
		pc, start, slot uint64
		reg             uint32
		listed          bool // among the findings' slots
	}
	previous uint32
	// halves are what moves of 16 bits have put into each register.
	halves [32]struct {
		pc    uint64
		value uint32
	}
}

// maxHalves is how far apart, in bytes, the moves that make one constant are.
const maxHalves = 64

// classes of the top byte of an arm64 instruction.
const (
	classCall = 1 + iota
	classJump
	classCond
	classTest
	classAdrp
	classLoad
	classAdd
	classSvc
	classMovk
	classBr
	classLiteral
)

var arm64Classes = arm64ClassTable()

func arm64ClassTable() (t [256]uint8) {
	for i := range 4 {
		t[0x94+i], t[0x14+i] = classCall, classJump
	}
	t[0x54], t[0x34], t[0x35], t[0xb4], t[0xb5] = classCond, classCond, classCond, classCond, classCond
	t[0x36], t[0x37], t[0xb6], t[0xb7] = classTest, classTest, classTest, classTest
	t[0x90], t[0xb0], t[0xd0], t[0xf0] = classAdrp, classAdrp, classAdrp, classAdrp
	t[0x10], t[0x30], t[0x50], t[0x70] = classAdrp, classAdrp, classAdrp, classAdrp
	t[0xf9], t[0x91], t[0xd4], t[0xd6] = classLoad, classAdd, classSvc, classBr
	t[0x72], t[0xf2], t[0x52], t[0xd2] = classMovk, classMovk, classMovk, classMovk
	t[0x18], t[0x58], t[0x1c], t[0x5c] = classLiteral, classLiteral, classLiteral, classLiteral
	return t
}

func (s *scannerARM64) chunk(q *query, out *findings, b []byte, n int, pc uint64) {
	n &^= 3
	for i := 0; i < n; i += 4 {
		w := le.Uint32(b[i:])
		at := pc + uint64(i)
		switch arm64Classes[w>>24] {
		case classCall:
			out.transfer(q, at, at+uint64(signExtend(uint64(w&0x3ffffff), 26)<<2), true)
		case classJump:
			out.transfer(q, at, at+uint64(signExtend(uint64(w&0x3ffffff), 26)<<2), false)
		case classCond:
			out.transfer(q, at, at+uint64(signExtend(uint64(w>>5&0x7ffff), 19)<<2), false)
		case classTest:
			out.transfer(q, at, at+uint64(signExtend(uint64(w>>5&0x3fff), 14)<<2), false)
		case classAdrp:
			imm := signExtend(uint64(w>>5&0x7ffff)<<2|uint64(w>>29&3), 21)
			p := &s.pages[w&31]
			p.pc, p.bti = at, s.previous == 0xd503245f
			if w>>31 == 1 {
				p.page = at&^0xfff + uint64(imm<<12)
			} else {
				p.page = at + uint64(imm)
				if q.taking {
					out.take(q, p.page)
				}
			}
		case classAdd:
			if q.taking && w>>22&1 == 0 {
				out.take(q, s.pages[w>>5&31].page+uint64(w>>10&0xfff))
			}
		case classLoad:
			if !q.first && q.slots == nil || w>>22&3 != 1 {
				break
			}
			p := &s.pages[w>>5&31]
			slot := p.page + uint64(w>>10&0xfff)<<3
			if q.slots[slot] {
				if at-p.pc <= 8 || s.f.keeps(p.pc+4, at, reg(w>>5&31)) {
					out.slots = append(out.slots, hit{at, slot, p.pc})
				}
			} else if _, ok := s.f.dyn.imports[slot]; ok && q.first {
				start := p.pc
				if p.bti {
					start -= 4
				}
				s.last.pc, s.last.start, s.last.slot, s.last.reg, s.last.listed = at, start, slot, w&31, false
				if s.f.dyn.loadable[slot] && s.f.keeps(p.pc+4, at, reg(w>>5&31)) {
					out.slots = append(out.slots, hit{at, slot, p.pc})
					s.last.listed = true
				}
			}
		case classBr:
			if q.first && w&0xfffffc1f == 0xd61f0000 && s.last.slot != 0 && at-s.last.pc <= 8 && w>>5&31 == s.last.reg && at-s.last.start <= 16 {
				if s.last.listed {
					out.slots = out.slots[:len(out.slots)-1]
				}
				out.stubs = append(out.stubs, hit{pc: s.last.start, target: s.last.slot}, hit{pc: s.last.start + 4, target: s.last.slot})
			}
		case classSvc:
			if q.first && w&0xffe0001f == 0xd4000001 {
				out.kernel = append(out.kernel, at)
			}
		case classMovk:
			// The two halves of a header version, in either order.
			if hw := w >> 21 & 3; q.first && w>>29&3 >= 2 && hw < 2 && w>>23&1 == 1 {
				h := &s.halves[w&31]
				if w>>29&3 == 2 {
					h.value = 0
				}
				shift := 16 * hw
				h.value = h.value&^(0xffff<<shift) | w>>5&0xffff<<shift
				if w>>29&3 == 3 && report.ABIOfHeader(h.value) != report.ABIUnknown && at-h.pc <= maxHalves {
					out.consts = append(out.consts, at)
				}
				h.pc = at
			}
		}
		s.previous = w
	}
}

// scannerAMD64 looks for bytes that begin something of interest, wherever they
// stand: what it finds is checked when the function is decoded. Looking for one
// byte at a time is several times as fast as looking at each byte.
type scannerAMD64 struct {
	f *File
	// leads are the bytes to look for.
	leads []byte
}

func newScannerAMD64(f *File, q *query) *scannerAMD64 {
	s := &scannerAMD64{f: f}
	transfers := len(q.targets)+len(q.fragments)+len(q.points) > 0 || q.marks != nil
	if transfers {
		s.leads = append(s.leads, 0xe8, 0xe9)
	}
	if transfers || q.first {
		s.leads = append(s.leads, 0x0f)
	}
	if q.taking {
		s.leads = append(s.leads, 0x8d)
	}
	if q.first && len(f.dyn.imports) > 0 || q.slots != nil {
		s.leads = append(s.leads, 0xff, 0x8b)
	}
	return s
}

func (s *scannerAMD64) chunk(q *query, out *findings, b []byte, n int, pc uint64) {
	for _, lead := range s.leads {
		for i := 0; i < n; i++ {
			k := bytes.IndexByte(b[i:n], lead)
			if k < 0 {
				break
			}
			i += k
			s.candidate(q, out, b[i:], pc+uint64(i))
		}
	}
	if !q.first {
		return
	}
	for _, version := range [...]uint32{report.HeaderV1, report.HeaderV2, report.HeaderV3} {
		var want [4]byte
		le.PutUint32(want[:], version)
		for i := 0; i < n; i++ {
			k := bytes.Index(b[i:n+3], want[:])
			if k < 0 {
				break
			}
			i += k
			out.consts = append(out.consts, pc+uint64(i))
		}
	}
}

// candidate looks at bytes that begin with one of the leads.
func (s *scannerAMD64) candidate(q *query, out *findings, b []byte, at uint64) {
	_ = b[scanPadding-8]
	relative := func(k int) uint64 { return at + uint64(k) + 4 + uint64(int64(int32(le.Uint32(b[k:])))) }
	switch second := b[1]; b[0] {
	case 0xe8, 0xe9:
		out.transfer(q, at, relative(1), b[0] == 0xe8)
	case 0x0f:
		switch {
		case second == 0x05 && q.first:
			out.kernel = append(out.kernel, at)
		case second&0xf0 == 0x80:
			out.transfer(q, at, relative(2), false)
		}
	case 0x8d:
		if second&0xc7 == 0x05 {
			out.take(q, relative(2))
		}
	case 0xff, 0x8b:
		if b[0] == 0xff && second != 0x15 && second != 0x25 || b[0] == 0x8b && second&0xc7 != 0x05 {
			return
		}
		slot := relative(2)
		if q.slots[slot] {
			out.slots = append(out.slots, hit{pc: at, target: slot})
			return
		}
		if !q.first || s.f.dyn.imports[slot] == "" || b[0] == 0xff && second == 0x25 && s.stub(out, at, slot) {
			return
		}
		out.slots = append(out.slots, hit{pc: at, target: slot})
	}
}

// stub recognises a procedure linkage stub around the jump at at, with or
// without a landing pad and a bound prefix.
func (s *scannerAMD64) stub(out *findings, at, slot uint64) bool {
	in := false
	for _, sec := range s.f.c.sections {
		if len(sec.name) >= 4 && sec.name[:4] == ".plt" && at >= sec.addr && at-sec.addr < sec.size {
			in = true
		}
	}
	if !in && (len(s.f.c.sections) > 0 || at%8 > 5) {
		return false
	}
	// The landing pad and the prefix come before; a target that is not one is
	// never called.
	for _, back := range []uint64{0, 1, 4, 5} {
		out.stubs = append(out.stubs, hit{pc: at - back, target: slot})
	}
	return true
}

// keeps says that no arm64 instruction from start to end writes r: what was put
// in it before is still there, as far as a straight look tells.
func (f *File) keeps(start, end uint64, r reg) bool {
	if end-start > maxHoist || !f.spend(int(end-start)/4) {
		return false
	}
	var in insn
	for pc := start; pc < end; pc += 4 {
		if !decodeARM64(f.mem.bytes(pc, 4), pc, &in) {
			return false
		}
		if in.flow == flowCall && r < 19 {
			return false
		}
		for i := range in.ops[:in.n] {
			if o := &in.ops[i]; o.dst == r && o.code != opStore {
				return false
			}
		}
	}
	return true
}

// maxHoist is how far, in bytes, an import slot's page may be computed ahead.
const maxHoist = 32 << 10

// shortJumps looks for the two-byte jumps of amd64 around each target, which
// the pass over all code leaves out.
func (f *File) shortJumps(q *query, out *findings) {
	for t := range q.targets {
		first := t - min(t, 130)
		b := f.mem.bytes(first, 260)
		for i := 0; i+1 < len(b); i++ {
			pc := first + uint64(i)
			if (b[i] == 0xeb || b[i]&0xf0 == 0x70) && pc+2+uint64(int64(int8(b[i+1]))) == t {
				out.calls = append(out.calls, hit{pc: pc, target: t})
			}
		}
	}
}
