package elffile

// Functions finds the bounds of functions from tables that stripping leaves in
// place.
type Functions struct {
	f       *File
	unwind  *unwind
	goTable *goTable
}

// NewFunctions reads the tables of functions of f.
func NewFunctions(f *File) *Functions {
	return &Functions{f: f, unwind: newUnwind(f), goTable: newGoTable(f)}
}

// Indexed reports whether the file has a sorted table of its functions.
func (t *Functions) Indexed() bool { return t.unwind.count > 0 || t.goTable != nil }

// At returns the bounds of the function that holds pc.
func (t *Functions) At(pc uint64) (Span, bool) {
	if s, _, ok := t.goTable.find(pc); ok {
		return s, true
	}
	return t.unwind.find(pc)
}

// GoName returns the name of the Go function that holds pc, "" without one.
func (t *Functions) GoName(pc uint64) string {
	_, name, _ := t.goTable.find(pc)
	return name
}

// IsGo reports whether the Go compiler made the function at addr: a Go program may
// hold C functions as well, with another calling convention.
func (t *Functions) IsGo(addr uint64) bool {
	if t.goTable == nil {
		return t.f.isGo
	}
	_, _, ok := t.goTable.find(addr)
	return ok
}

// GoFunctions returns the addresses of the Go functions with one of the names.
func (t *Functions) GoFunctions(names ...string) (addrs []uint64) {
	if t.goTable == nil {
		return nil
	}
	longest := 0
	for _, n := range names {
		longest = max(longest, len(n))
	}
	for i := range t.goTable.count {
		b := t.f.mem.bytes(t.goTable.nameAddr(i), longest+1)
		for _, n := range names {
			if len(b) > len(n) && b[len(n)] == 0 && string(b[:len(n)]) == n {
				addrs = append(addrs, t.goTable.start(i))
			}
		}
	}
	return addrs
}
