package absint

import (
	"slices"
	"sort"

	"github.com/capvet/capvet/internal/isa"
)

// cell is memory that the function has written.
type cell struct {
	at    Value // its address, which isAddress
	width uint8
	val   Value
	by    Trail // of the store
}

func (c *cell) end() int64 { return c.at.Off + int64(c.width) }

// part returns the cell of n bytes from offset from.
func (c cell) part(from, n uint8) cell {
	return cell{Add(c.at, int64(from)), n, piece(c, from, n), c.by}
}

// state is the abstract state at one point of a function.
type state struct {
	regs [isa.NumRegs]Value
	// cells are sorted by space, id and offset and do not overlap.
	cells []cell
	// trails are those of the registers, nil if they are not recorded.
	trails *[isa.NumRegs]Trail
	full   bool // a cell was dropped
}

func (s *state) clone() *state {
	c := &state{regs: s.regs, cells: slices.Clone(s.cells), full: s.full}
	if s.trails != nil {
		t := *s.trails
		c.trails = &t
	}
	return c
}

// isAddress reports whether memory at v can have a cell.
func (v Value) isAddress() bool {
	return v.Kind == KindConst || v.Kind == KindStack || v.Kind == KindSymbol
}

// overlap returns the range of the cells that overlap width bytes at addr.
func (s *state) overlap(addr Value, width uint8) (first, end int) {
	if !addr.isAddress() {
		return 0, 0
	}
	lowest := Add(addr, -7)
	first = sort.Search(len(s.cells), func(i int) bool { return compare(s.cells[i].at, lowest) >= 0 })
	for end = first; end < len(s.cells); end++ {
		c := &s.cells[end]
		if c.at.Kind != addr.Kind || c.at.id != addr.id || c.at.Off >= addr.Off+int64(width) {
			break
		}
		if c.end() <= addr.Off {
			first = end + 1
		}
	}
	return first, end
}

// store writes width bytes. A store to an unknown address is ignored: a header is
// passed by a known one.
func (s *state) store(addr Value, width uint8, v Value, by Trail) {
	if !addr.isAddress() || width == 0 {
		return
	}
	i, j := s.overlap(addr, width)
	var buf [3]cell
	put := buf[:0]
	// Keep the parts of old cells on both sides of the new one.
	if i < j && s.cells[i].at.Off < addr.Off {
		put = append(put, s.cells[i].part(0, uint8(addr.Off-s.cells[i].at.Off)))
	}
	put = append(put, cell{addr, width, Truncate(v, width), by})
	if i < j {
		if c := s.cells[j-1]; c.end() > addr.Off+int64(width) {
			n := uint8(c.end() - addr.Off - int64(width))
			put = append(put, c.part(c.width-n, n))
		}
	}
	if len(s.cells)-(j-i)+len(put) > maxCells {
		s.full = true
		return
	}
	s.cells = slices.Replace(s.cells, i, j, put...)
}

// piece returns n bytes of a cell from offset from.
func piece(c cell, from, n uint8) Value {
	if c.val.Kind == KindConst {
		return Truncate(Const(uint64(c.val.Off)>>(8*from)), n)
	}
	switch {
	case from == 0 && c.width == n, c.val.Kind == KindKernel:
		return c.val
	case from == 0 && n <= 4 && c.val.Kind == KindLow:
		return Truncate(c.val, n)
	}
	return top
}

// load reads width bytes. found is false if the function has written none of them.
func (s *state) load(addr Value, width uint8, initial func(Value, uint8) Value) (v Value, found bool) {
	i, j := s.overlap(addr, width)
	if i == j {
		return top, false
	}
	covered := uint8(0)
	var bits uint64
	// partly returns the low half if that is known.
	partly := func() Value {
		if width == 8 && covered >= 4 {
			return low(bits)
		}
		return top
	}
	// fill adds the initial content of the bytes up to end.
	fill := func(end uint8) bool {
		if covered >= end {
			return true
		}
		was := initial(Add(addr, int64(covered)), end-covered)
		if was.Kind == KindConst {
			bits |= uint64(Truncate(was, end-covered).Off) << (8 * covered)
			covered = end
		}
		return was.Kind == KindConst
	}
	for ; i < j && covered < width; i++ {
		c := &s.cells[i]
		off := c.at.Off - addr.Off
		if off <= 0 && c.end() >= addr.Off+int64(width) {
			if off == 0 && width == 4 && c.width == 8 && c.val.Kind == KindSymbol {
				return c.val, true
			}
			return piece(*c, uint8(-off), width), true
		}
		if off < 0 {
			p := piece(*c, uint8(-off), uint8(c.end()-addr.Off))
			if p.Kind != KindConst {
				return top, true
			}
			bits |= uint64(p.Off)
			covered = uint8(c.end() - addr.Off)
			continue
		}
		if !fill(uint8(off)) || c.val.Kind != KindConst {
			return partly(), true
		}
		bits |= uint64(c.val.Off) << (8 * covered)
		covered += c.width
	}
	if !fill(width) {
		return partly(), true
	}
	return Truncate(Const(bits), width), true
}

// join sets s to the join of s and o and reports whether s changed.
func (s *state) join(n *Values, o *state, initial func(Value, uint8) Value) bool {
	changed := false
	if s.regs != o.regs {
		changed = s.joinRegisters(n, o)
	}
	if slices.Equal(s.cells, o.cells) {
		return changed
	}
	out := make([]cell, 0, max(len(s.cells), len(o.cells)))
	i, j := 0, 0
	for i < len(s.cells) || j < len(o.cells) {
		switch {
		case j >= len(o.cells) || i < len(s.cells) && compare(s.cells[i].at, o.cells[j].at) < 0:
			c := unwritten(n, s.cells[i], initial)
			changed = changed || c.val != s.cells[i].val
			out = append(out, c)
			i++
		case i >= len(s.cells) || compare(o.cells[j].at, s.cells[i].at) < 0:
			out = append(out, unwritten(n, o.cells[j], initial))
			changed = true
			j++
		default: // of stores of different widths, keep the narrower one
			a, b := s.cells[i], o.cells[j]
			w := min(a.width, b.width)
			v := n.Join(piece(a, 0, w), piece(b, 0, w))
			if a.width != b.width || v != a.val {
				changed = changed || a.width > w || v != a.val
				a.by = n.JoinTrails(a.by, b.by)
			}
			a.width, a.val = w, v
			out = append(out, a)
			i++
			j++
		}
	}
	// Cells of different widths may overlap now: drop the second one.
	kept := out[:0]
	for _, c := range out {
		if k := len(kept); k > 0 && kept[k-1].at.Kind == c.at.Kind && kept[k-1].at.id == c.at.id && kept[k-1].end() > c.at.Off {
			continue
		}
		kept = append(kept, c)
	}
	s.full = s.full || len(kept) > maxCells
	s.cells = kept[:min(len(kept), maxCells)]
	return changed
}

// joinRegisters joins the registers.
func (s *state) joinRegisters(n *Values, o *state) (changed bool) {
	for i := range s.regs {
		if s.regs[i] == o.regs[i] {
			continue
		}
		if v := n.Join(s.regs[i], o.regs[i]); v != s.regs[i] {
			s.regs[i], changed = v, true
			if s.trails != nil {
				s.trails[i] = n.JoinTrails(s.trails[i], o.trails[i])
			}
		}
	}
	return changed
}

// unwritten joins a cell with the initial content of its memory. Stack memory below
// the entry has no initial content that a program reads.
func unwritten(n *Values, c cell, initial func(Value, uint8) Value) cell {
	if c.at.Kind != KindStack || c.at.Off >= 0 {
		c.val = n.Join(c.val, initial(c.at, c.width))
	}
	return c
}
