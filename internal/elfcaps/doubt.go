package elfcaps

import (
	"encoding/binary"

	"github.com/capvet/capvet/internal/report"
)

// A version that was not read has to come from somewhere: from a word of the
// file's data, from code that stores one, from the kernel, or from outside. What
// the file itself has to offer says how far a call may be trusted that was not
// read whole.

// offersLegacy says that the file has a legacy version that a header may get,
// other than one which a call was seen to pass.
func (a *analysis) offersLegacy() bool {
	return a.StoresLegacy || a.dataHolds(report.ABI.Legacy)
}

// offersVersion says that of any version.
func (a *analysis) offersVersion() bool {
	return len(a.headerConstants) > 0 || a.dataHolds(func(v report.ABI) bool { return v != report.ABIUnknown })
}

// dataHolds says that a word of the file's data is a header version that is wanted.
func (a *analysis) dataHolds(wanted func(report.ABI) bool) bool {
	found := false
	a.File.SearchData(4, func(addr uint64, b []byte) bool {
		for i := int(-addr & 3); i+4 <= len(b); i += 4 {
			found = found || wanted(report.ABIOfHeader(binary.LittleEndian.Uint32(b[i:])))
		}
		return !found
	})
	return found
}
