package absint

import (
	"slices"

	"github.com/capvet/capvet/internal/isa"
)

// cell is memory that the function has written.
type cell struct {
	// space is KindStack, KindConst (off is the address) or KindSymbol (off is
	// relative to symbol id).
	space Kind
	id    uint32
	off   int64
	width uint8
	val   Value
	// by is the trail of the store.
	by Trail
}

// maxCells bounds the cells of one state.
const maxCells = 512

// state is the abstract state at one point of a function.
type state struct {
	regs [isa.NumRegs]Value
	// cells are sorted by space, id and offset and do not overlap.
	cells []cell
	// trails are those of the registers, nil if they are not recorded.
	trails *[isa.NumRegs]Trail
}

func (s *state) clone() *state {
	c := &state{regs: s.regs, cells: slices.Clone(s.cells)}
	if s.trails != nil {
		t := *s.trails
		c.trails = &t
	}
	return c
}

func cellLess(c *cell, space Kind, id uint32, off int64) bool {
	if c.space != space {
		return c.space < space
	}
	if c.id != id {
		return c.id < id
	}
	return c.off < off
}

// firstCell returns the index of the first cell at or behind an address.
func (s *state) firstCell(space Kind, id uint32, off int64) int {
	lo, hi := 0, len(s.cells)
	for lo < hi {
		mid := (lo + hi) / 2
		if cellLess(&s.cells[mid], space, id, off) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// place splits an address into the key of a cell.
func place(addr Value) (space Kind, id uint32, off int64, ok bool) {
	switch addr.Kind {
	case KindConst, KindStack, KindSymbol:
		return addr.Kind, addr.id, addr.Off, true
	}
	return 0, 0, 0, false
}

// store writes width bytes. A store to an unknown address is ignored: a header is
// passed by a known one.
func (s *state) store(addr Value, width uint8, v Value, by Trail) {
	space, id, off, ok := place(addr)
	if !ok || width == 0 {
		return
	}
	i := s.firstCell(space, id, off-7)
	j := i
	var before, after *cell
	for ; j < len(s.cells); j++ {
		c := &s.cells[j]
		if c.space != space || c.id != id || c.off >= off+int64(width) {
			break
		}
		if c.off+int64(c.width) <= off {
			i = j + 1
			continue
		}
		// Keep the parts of the old cell on both sides of the new one.
		if c.off < off {
			before = &cell{space: space, id: id, off: c.off, width: uint8(off - c.off), val: piece(*c, 0, uint8(off-c.off)), by: c.by}
		}
		if end := c.off + int64(c.width); end > off+int64(width) {
			n := uint8(end - off - int64(width))
			after = &cell{space: space, id: id, off: off + int64(width), width: n, val: piece(*c, c.width-n, n), by: c.by}
		}
	}
	var put [3]cell
	n := 0
	if before != nil {
		put[n] = *before
		n++
	}
	put[n] = cell{space: space, id: id, off: off, width: width, val: Truncate(v, width), by: by}
	n++
	if after != nil {
		put[n] = *after
		n++
	}
	if len(s.cells)-(j-i)+n > maxCells {
		return
	}
	s.cells = slices.Replace(s.cells, i, j, put[:n]...)
}

// piece returns n bytes of a cell from offset from.
func piece(c cell, from, n uint8) Value {
	if c.val.Kind == KindConst {
		return Truncate(Const(uint64(c.val.Off)>>(8*from)), n)
	}
	if from == 0 && c.width == n {
		return c.val
	}
	if from == 0 && n <= 4 && c.val.Kind == KindLow {
		return Truncate(c.val, n)
	}
	if c.val.Kind == KindKernel {
		return c.val
	}
	return top
}

// load reads width bytes. found is false if the function has written no byte of
// them.
func (s *state) load(addr Value, width uint8, initial func(Value, uint8) Value) (v Value, found bool) {
	space, id, off, ok := place(addr)
	if !ok {
		return top, false
	}
	i := s.firstCell(space, id, off-7)
	covered := uint8(0)
	var bits uint64
	// partly returns the low half if that is known.
	partly := func() Value {
		if width == 8 && covered >= 4 {
			return low(bits)
		}
		return top
	}
	for ; i < len(s.cells) && covered < width; i++ {
		c := &s.cells[i]
		if c.space != space || c.id != id || c.off >= off+int64(width) {
			break
		}
		if c.off+int64(c.width) <= off {
			continue
		}
		found = true
		if c.off <= off && c.off+int64(c.width) >= off+int64(width) {
			if c.off == off && c.val.Kind != KindConst && c.width >= width {
				if c.val.Kind == KindLow && width <= 4 {
					return Truncate(c.val, width), true
				}
				if c.width == width || c.val.Kind == KindKernel || width == 4 && c.width == 8 && c.val.Kind == KindSymbol {
					return c.val, true
				}
				return top, true
			}
			return piece(*c, uint8(off-c.off), width), true
		}
		at := off + int64(covered)
		if c.off != at { // a gap: initial content
			if c.off < off {
				p := piece(*c, uint8(off-c.off), uint8(c.off+int64(c.width)-off))
				if p.Kind != KindConst {
					return top, true
				}
				bits |= uint64(p.Off)
				covered = uint8(c.off + int64(c.width) - off)
				continue
			}
			gap := uint8(c.off - at)
			was := initial(Value{space, id, at}, gap)
			if was.Kind != KindConst {
				return partly(), true
			}
			bits |= uint64(Truncate(was, gap).Off) << (8 * covered)
			covered += gap
		}
		if c.val.Kind != KindConst {
			return partly(), true
		}
		bits |= uint64(c.val.Off) << (8 * covered)
		covered += c.width
	}
	if !found {
		return top, false
	}
	if covered < width {
		rest := initial(Value{space, id, off + int64(covered)}, width-covered)
		if rest.Kind != KindConst {
			return partly(), true
		}
		bits |= uint64(Truncate(rest, width-covered).Off) << (8 * covered)
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
		case j >= len(o.cells) || i < len(s.cells) && cellBefore(&s.cells[i], &o.cells[j]):
			c, same := unwritten(n, s.cells[i], initial)
			changed = changed || !same
			out = append(out, c)
			i++
		case i >= len(s.cells) || cellBefore(&o.cells[j], &s.cells[i]):
			c, _ := unwritten(n, o.cells[j], initial)
			out = append(out, c)
			changed = true
			j++
		default:
			a, b := s.cells[i], o.cells[j]
			if a.width != b.width {
				// Stores of different widths: keep the narrower one.
				w := min(a.width, b.width)
				pa, pb := piece(a, 0, w), piece(b, 0, w)
				c := cell{space: a.space, id: a.id, off: a.off, width: w, val: n.Join(pa, pb), by: n.JoinTrails(a.by, b.by)}
				if a.width > w || c.val != a.val {
					changed = true
				}
				out = append(out, c)
			} else {
				if v := n.Join(a.val, b.val); v != a.val {
					a.val, a.by, changed = v, n.JoinTrails(a.by, b.by), true
				}
				out = append(out, a)
			}
			i++
			j++
		}
	}
	// Cells of different widths may overlap now: drop the second one.
	kept := out[:0]
	for _, c := range out {
		if k := len(kept); k > 0 && kept[k-1].space == c.space && kept[k-1].id == c.id && kept[k-1].off+int64(kept[k-1].width) > c.off {
			continue
		}
		kept = append(kept, c)
	}
	s.cells = kept[:min(len(kept), maxCells)]
	return changed
}

// joinRegisters joins the registers.
func (s *state) joinRegisters(n *Values, o *state) (changed bool) {
	for i := range s.regs {
		if s.regs[i] != o.regs[i] {
			if v := n.Join(s.regs[i], o.regs[i]); v != s.regs[i] {
				s.regs[i], changed = v, true
				if s.trails != nil {
					s.trails[i] = n.JoinTrails(s.trails[i], o.trails[i])
				}
			}
		}
	}
	return changed
}

func cellBefore(a, b *cell) bool { return cellLess(a, b.space, b.id, b.off) }

// unwritten joins a cell with the initial content of its memory. Stack memory below
// the entry has no initial content that a program reads.
func unwritten(n *Values, c cell, initial func(Value, uint8) Value) (cell, bool) {
	if c.space == KindStack && c.off < 0 {
		return c, true
	}
	was := initial(Value{c.space, c.id, c.off}, c.width)
	v := n.Join(c.val, was)
	same := v == c.val
	c.val = v
	return c, same
}
