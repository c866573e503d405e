package elffile

// Functions finds the bounds of functions in .eh_frame and in Go's pclntab.
type Functions struct {
	f       *File
	ehFrame *ehFrame
	pclntab *pclntab // nil without a table
}

// NewFunctions reads the tables of f.
func NewFunctions(f *File) *Functions {
	return &Functions{f: f, ehFrame: newEHFrame(f, true), pclntab: newPclntab(f)}
}

// Indexed reports whether the file has a sorted table of its functions.
func (t *Functions) Indexed() bool { return t.ehFrame.count > 0 || t.pclntab != nil }

// At returns the bounds of the function that contains pc, or a zero Span.
func (t *Functions) At(pc uint64) Span {
	if s, _ := t.pclntab.find(pc); s.End != 0 {
		return s
	}
	return t.ehFrame.find(pc)
}

// GoName returns the name of the Go function that contains pc, or "".
func (t *Functions) GoName(pc uint64) string {
	_, name := t.pclntab.find(pc)
	return name
}

// IsGo reports whether the function at addr has Go's calling convention. A Go program
// with cgo also contains C functions.
func (t *Functions) IsGo(addr uint64) bool {
	if t.pclntab == nil {
		return t.f.facts.Go
	}
	s, _ := t.pclntab.find(addr)
	return s.End != 0
}

// GoFunctions returns the addresses of the Go functions with the names.
func (t *Functions) GoFunctions(names ...string) (addrs []uint64) {
	if t.pclntab == nil {
		return nil
	}
	longest := longest(names)
	for i := range t.pclntab.functionCount {
		if oneOf(names, t.f.Bytes(t.pclntab.nameAddr(i), longest+1)) != "" {
			addrs = append(addrs, t.pclntab.start(i))
		}
	}
	return addrs
}
