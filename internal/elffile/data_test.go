package elffile

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/capvet/capvet/internal/elftest"
)

// TestOverlappingData requires that overlapping segments are searched once.
func TestOverlappingData(t *testing.T) {
	data := bytes.Clone(elftest.Fixtures(t)["amd64_heap_v1_O2"])
	clear(data[40:48]) // e_shoff
	clear(data[58:64])
	phoff, num := binary.LittleEndian.Uint64(data[32:]), int(binary.LittleEndian.Uint16(data[56:]))
	for i := range num {
		e := data[phoff+uint64(i)*56:]
		if !slices.Contains([]elf.ProgType{elf.PT_LOAD, elf.PT_NOTE}, elf.ProgType(binary.LittleEndian.Uint32(e))) {
			continue
		}
		binary.LittleEndian.PutUint32(e, uint32(elf.PT_LOAD))
		binary.LittleEndian.PutUint64(e[8:], 0)
		binary.LittleEndian.PutUint64(e[32:], uint64(len(data)))
		binary.LittleEndian.PutUint64(e[40:], uint64(len(data)))
	}
	f, err := openAny(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	f.SearchData(0, func(_ uint64, b []byte) bool { seen += len(b); return true })
	if most := len(data) + 2*pageSize*num; seen == 0 || seen > most || f.Left() == "" {
		t.Errorf("searched %d bytes of a file of %d: %q", seen, len(data), f.Left())
	}
}
