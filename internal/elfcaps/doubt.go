package elfcaps

import (
	"encoding/binary"

	"github.com/capvet/capvet/internal/report"
)

// A version that was not read has to come from somewhere: from a word of the
// file's data, from code that stores one, from the kernel, or from outside. What
// the file itself has to offer says how far a call may be trusted that was not
// read whole.

// noteStore takes down that code stores a legacy version. A comparison does not.
func (a *analysis) noteStore(v value) {
	if a.storesLegacy {
		return
	}
	for _, alt := range a.names.alternatives(v) {
		if alt.kind != kindConst && alt.kind != kindLow {
			continue
		}
		for _, half := range [...]uint32{uint32(alt.off), uint32(alt.off >> 32)} {
			a.storesLegacy = a.storesLegacy || report.ABIOfHeader(half).Legacy()
		}
	}
}

// offersLegacy says that the file has a legacy version that a header may get,
// other than one which a call was seen to pass.
func (a *analysis) offersLegacy() bool {
	return a.storesLegacy || a.dataHolds(report.ABI.Legacy)
}

// offersVersion says that of any version.
func (a *analysis) offersVersion() bool {
	return len(a.consts) > 0 || a.dataHolds(func(v report.ABI) bool { return v != report.ABIUnknown })
}

// dataHolds says that a word of the file's data is a header version that is wanted.
func (a *analysis) dataHolds(wanted func(report.ABI) bool) bool {
	found := false
	a.f.SearchData(4, func(addr uint64, b []byte) bool {
		for i := int(-addr & 3); i+4 <= len(b); i += 4 {
			found = found || wanted(report.ABIOfHeader(binary.LittleEndian.Uint32(b[i:])))
		}
		return !found
	})
	return found
}
