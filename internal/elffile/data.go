package elffile

import (
	"bytes"
	"debug/elf"
	"strings"
)

// dataRange is a range of the file and its virtual address.
type dataRange struct{ off, size, addr uint64 }

// dataRanges returns the loaded sections without code, or the segments without section headers.
func (f *File) dataRanges() (ranges []dataRange) {
	for _, s := range f.h.sections {
		if s.Flags&elf.SHF_ALLOC != 0 && s.Flags&elf.SHF_EXECINSTR == 0 && s.Type == elf.SHT_PROGBITS && !strings.HasPrefix(s.Name, ".eh_frame") {
			ranges = append(ranges, dataRange{s.Offset, s.Size, s.Addr})
		}
	}
	if len(ranges) == 0 {
		return f.loadedRanges()
	}
	return f.bounded(ranges)
}

func (f *File) loadedRanges() (ranges []dataRange) {
	for _, s := range f.loads {
		ranges = append(ranges, dataRange{s.Off, s.Filesz, s.Vaddr})
	}
	return f.bounded(ranges)
}

// bounded cuts ranges that have more bytes than the file.
func (f *File) bounded(ranges []dataRange) []dataRange {
	// Ranges may overlap in the file. Their total size is at most that of the file, and of pages
	// that two segments share.
	left := f.h.size + uint64(2*pageSize*len(ranges))
	for i, r := range ranges {
		if r.size > left {
			f.leave("the segments or sections map the file more than once")
		}
		ranges[i].size = min(r.size, left)
		left -= ranges[i].size
	}
	return ranges
}

// SearchData calls visit with chunks of the loaded data until it returns false. Each
// chunk repeats the last overlap bytes of the previous chunk of its range. addr is
// the virtual address of b, which is valid during the call only.
func (f *File) SearchData(overlap int, visit func(addr uint64, b []byte) bool) {
	f.searchAll(f.dataRanges(), overlap, visit)
}

// SearchLoaded is SearchData over all segments, code and headers among them.
func (f *File) SearchLoaded(overlap int, visit func(addr uint64, b []byte) bool) {
	f.searchAll(f.loadedRanges(), overlap, visit)
}

func (f *File) searchAll(ranges []dataRange, overlap int, visit func(addr uint64, b []byte) bool) {
	more := true
	for _, r := range ranges {
		if !more {
			return
		}
		f.Search(r.off, r.size, overlap, func(off uint64, b []byte) bool {
			more = visit(r.addr+off-r.off, b)
			return more
		})
	}
}

// Search is SearchData with file offsets. It reads at most MaxSearch bytes.
func (f *File) Search(off, size uint64, overlap int, visit func(off uint64, b []byte) bool) {
	if size > MaxSearch {
		f.leave("of %d bytes at offset %#x %d were searched", size, off, MaxSearch)
	}
	size = min(size, MaxSearch)
	buf := make([]byte, min(size, chunkSize))
	for done := uint64(0); done < size; {
		b := buf[:min(uint64(len(buf)), size-done)]
		if readFull(f.h.r, b, int64(off+done)) != nil {
			return
		}
		if !visit(off+done, b) || done+uint64(len(b)) >= size {
			return
		}
		done += uint64(len(b) - min(overlap, len(b)-1))
	}
}

// hasData reports whether the loaded data contain one of the byte strings.
func (f *File) hasData(any ...[]byte) bool {
	found := false
	f.SearchData(longest(any), func(_ uint64, b []byte) bool {
		for _, s := range any {
			found = found || bytes.Contains(b, s)
		}
		return !found
	})
	return found
}

// find returns the virtual addresses of want in a segment, at most limit.
func (f *File) find(s Segment, want []byte, limit int) (found []uint64) {
	f.Search(s.Off, s.Filesz, len(want), func(off uint64, b []byte) bool {
		for i := 0; ; {
			j := bytes.Index(b[i:], want)
			if j < 0 {
				return true
			}
			if addr := s.Vaddr + (off - s.Off) + uint64(i+j); len(found) == 0 || found[len(found)-1] < addr {
				found = append(found, addr)
			}
			if len(found) >= limit {
				f.leave("the data holds a table's magic number more than %d times", limit)
				return false
			}
			i += j + 1
		}
	})
	return found
}
