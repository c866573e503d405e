package elfcaps

import (
	"encoding/binary"

	"github.com/capvet/capvet/internal/report"
)

// An unknown version comes from the file's data, from code that stores one, from the
// kernel, or from another file. The versions in the file therefore bound the damage
// of a call with unknown arguments.

// offersLegacy reports whether code stores a legacy version, or the data holds one.
func (a *analysis) offersLegacy() bool {
	return a.StoresLegacy || a.dataHolds(report.ABI.Legacy)
}

// dataHolds reports whether an aligned word of the file's data is a wanted version.
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
