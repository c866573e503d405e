package elfcaps

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestOverlappingData: segments that lie over each other are searched once.
func TestOverlappingData(t *testing.T) {
	data := bytes.Clone(fixtures(t)["amd64_heap_v1_O2"])
	clear(data[40:48]) // e_shoff
	clear(data[58:64])
	phoff, num := binary.LittleEndian.Uint64(data[32:]), int(binary.LittleEndian.Uint16(data[56:]))
	for i := range num {
		e := data[phoff+uint64(i)*56:]
		if binary.LittleEndian.Uint32(e) != segLoad && binary.LittleEndian.Uint32(e) != segNote {
			continue
		}
		binary.LittleEndian.PutUint32(e, segLoad)
		binary.LittleEndian.PutUint64(e[8:], 0)
		binary.LittleEndian.PutUint64(e[32:], uint64(len(data)))
		binary.LittleEndian.PutUint64(e[40:], uint64(len(data)))
	}
	f, err := Open(bytes.NewReader(data), int64(len(data)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	f.SearchData(0, func(_ uint64, b []byte) bool { seen += len(b); return true })
	if seen == 0 || seen > len(data) {
		t.Errorf("searched %d bytes of a file of %d", seen, len(data))
	}
}

// TestExhausted: once a limit is met no further function is looked at, and the
// verdict says so.
func TestExhausted(t *testing.T) {
	data := fixtures(t)["amd64_static_none_O2"]
	f, err := Open(bytes.NewReader(data), int64(len(data)), Limits{Work: 1})
	if err != nil {
		t.Fatal(err)
	}
	f.work = -1
	a := newAnalysis(f, machineFor("amd64"))
	a.enter(f.code[0], f.code[0].start, []uint64{f.code[0].start})
	if len(a.entered) != 0 || len(a.opaques) != 0 {
		t.Errorf("went on with %d functions", len(a.entered))
	}
}
