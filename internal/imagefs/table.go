package imagefs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
)

// maxTableEntry is how many bytes of a table of contents one entry may take:
// each is held in memory whole.
const maxTableEntry = 1 << 20

// maxInnerOffset is how far into what its range unpacks to a file may begin.
// Builders put small files together up to a few megabytes.
const maxInnerOffset = 64 << 20

// TableFile is a regular file of interest as a layer's table of contents lists
// it.
type TableFile struct {
	At Source
	Attributes
	// Start and End are the range of the packed layer, in bytes, that holds the
	// content. An empty file has none.
	Start, End int64

	inner  int64 // what comes before the content in what the range unpacks to
	digest []byte
	chunks []tableChunk
}

// tableChunk is a piece of a file's content.
type tableChunk struct {
	offset, size int64 // in the file; no size: up to the next, or the end
	digest       []byte
}

// tableEntry is one of a table of contents, in the form that eStargz and
// zstd:chunked share (stargz-snapshotter's docs/estargz.md, "TOC";
// containers/storage, docs/containers-storage-zstd-chunked.md).
type tableEntry struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	LinkName    string `json:"linkName"`
	Size        int64  `json:"size"`
	Digest      string `json:"digest"`
	Offset      int64  `json:"offset"`
	EndOffset   int64  `json:"endOffset"`   // zstd:chunked
	InnerOffset int64  `json:"innerOffset"` // eStargz
	ChunkOffset int64  `json:"chunkOffset"`
	ChunkSize   int64  `json:"chunkSize"`
	ChunkDigest string `json:"chunkDigest"`
	Xattrs      struct {
		Capability []byte `json:"security.capability"`
	} `json:"xattrs"`
}

// ReadTable reads a layer's table of contents to its end. end is where the files
// of the packed layer end. wanted says which regular files are returned, by their
// clean absolute paths.
//
// A table that could be read in two ways is refused: one with a second list, or
// with a path that comes twice and is not a directory both times.
func ReadTable(table io.Reader, limits Limits, end int64, wanted func(path string) bool) (*Layer, []TableFile, error) {
	t := tableReader{collector: newCollector(limits, wanted), limit: end}
	bounded := &pieces{r: table}
	decoder := json.NewDecoder(bounded)
	malformed := func(err error) error {
		if bounded.err != nil {
			return bounded.err
		}
		return fmt.Errorf("%w table of contents: %w", ErrMalformed, err)
	}
	expect := func(delim json.Delim) error {
		bounded.n = 0
		token, err := decoder.Token()
		if err == nil && token != delim {
			err = fmt.Errorf("%v stands where %v should", token, delim)
		}
		if err != nil {
			return malformed(err)
		}
		return nil
	}
	if err := expect('{'); err != nil {
		return nil, nil, err
	}
	listed := false
	for decoder.More() {
		bounded.n = 0
		key, err := decoder.Token()
		if err != nil {
			return nil, nil, malformed(err)
		}
		if name, ok := key.(string); !ok || !strings.EqualFold(name, "entries") {
			var ignored json.RawMessage
			if err := decoder.Decode(&ignored); err != nil {
				return nil, nil, malformed(err)
			}
			continue
		}
		if listed {
			return nil, nil, fmt.Errorf("%w table of contents: it has two lists", ErrMalformed)
		}
		listed = true
		if err := expect('['); err != nil {
			return nil, nil, err
		}
		for decoder.More() {
			bounded.n = 0
			var e tableEntry
			if err := decoder.Decode(&e); err != nil {
				return nil, nil, malformed(err)
			}
			if err := t.add(e); err != nil {
				return nil, nil, err
			}
		}
		if err := expect(']'); err != nil {
			return nil, nil, err
		}
	}
	if err := expect('}'); err != nil {
		return nil, nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, nil, malformed(fmt.Errorf("something follows it: %w", err))
	}
	files, err := t.finished()
	if err != nil {
		return nil, nil, err
	}
	return t.layer(), files, nil
}

// pieces bounds how much is read for one piece of a table.
type pieces struct {
	r   io.Reader
	n   int64
	err error // of r, or the bound's
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.n > maxTableEntry {
		p.err = fmt.Errorf("%w: the table of contents has an entry of more than %d bytes", ErrTooLarge, maxTableEntry)
		return 0, p.err
	}
	n, err := p.r.Read(b)
	p.n += int64(n)
	if err != nil && err != io.EOF {
		p.err = err
	}
	return n, err
}

// tableReader makes a layer of a table's entries.
type tableReader struct {
	*collector
	limit int64 // where files end
	found []TableFile
	last  string // the regular file that a chunk may belong to
	taken bool   // it is the last of found
	// open are those of found whose range has no end yet, but for the highest
	// offset of a chunk. Small files share a range.
	open []int
}

func (t *tableReader) add(e tableEntry) error {
	name := Clean(e.Name)
	if e.Offset < 0 || e.EndOffset < 0 || e.InnerOffset < 0 || e.InnerOffset > maxInnerOffset || e.Size < 0 || e.ChunkOffset < 0 || e.ChunkSize < 0 {
		return fmt.Errorf("%w table of contents: %s has a number that cannot be", ErrMalformed, name)
	}
	if e.Type == "chunk" {
		if err := t.count(); err != nil {
			return err
		}
		if name != t.last {
			return fmt.Errorf("%w table of contents: a chunk of %s follows none of it", ErrMalformed, name)
		}
		if t.taken {
			return t.chunk(e)
		}
		t.end(e.Offset)
		return nil
	}
	t.end(e.Offset)
	t.last, t.taken = "", false
	kind, ok := map[string]Kind{"reg": Regular, "dir": Directory, "symlink": Symlink, "hardlink": HardLink, "char": Other, "block": Other, "fifo": Other}[e.Type]
	if !ok {
		return fmt.Errorf("%w table of contents: %s is of the type %q, which does not exist", ErrMalformed, name, e.Type)
	}
	if _, before := t.shown(t.top().hash(name)); before != 0 && (before != Directory || kind != Directory) {
		return fmt.Errorf("%w table of contents: %s comes twice", ErrMalformed, name)
	}
	at, is, err := t.entry(e.Name, e.LinkName, kind)
	if err != nil {
		return err
	}
	if kind != Regular {
		return nil
	}
	t.last = name
	if is != interesting {
		return nil
	}
	f := TableFile{At: at, Attributes: Attributes{Size: e.Size, Capabilities: capabilities(string(e.Xattrs.Capability))}, Start: e.Offset, End: e.Offset, inner: e.InnerOffset}
	if f.digest, err = digestOf(e.Digest); err != nil {
		return err
	}
	t.found, t.taken = append(t.found, f), true
	if e.EndOffset > 0 {
		t.found[len(t.found)-1].End = e.EndOffset
	} else {
		t.open = append(t.open, len(t.found)-1)
	}
	return t.chunk(e)
}

// end ends the ranges that are open where the next begins.
func (t *tableReader) end(next int64) {
	t.open = slices.DeleteFunc(t.open, func(i int) bool {
		ends := next > t.found[i].End
		if ends {
			t.found[i].End = next
		}
		return ends
	})
}

// chunk adds to the last file.
func (t *tableReader) chunk(e tableEntry) error {
	sum, err := digestOf(e.ChunkDigest)
	if err != nil {
		return err
	}
	f := &t.found[len(t.found)-1]
	f.chunks = append(f.chunks, tableChunk{e.ChunkOffset, e.ChunkSize, sum})
	if slices.Contains(t.open, len(t.found)-1) {
		f.End = max(f.End, e.Offset)
	}
	return nil
}

// finished checks that the files of interest are whole and covered by digests.
func (t *tableReader) finished() ([]TableFile, error) {
	t.end(t.limit)
	for i := range t.found {
		f := &t.found[i]
		if f.Size == 0 {
			f.Start, f.End, f.chunks = 0, 0, nil
			continue
		}
		if f.Start >= f.End || f.End > t.limit {
			return nil, fmt.Errorf("%w table of contents: %s has the range %d to %d of %d bytes", ErrMalformed, f.At.Path, f.Start, f.End, t.limit)
		}
		at := int64(0)
		for j := range f.chunks {
			c, next := &f.chunks[j], f.Size
			if j+1 < len(f.chunks) {
				next = f.chunks[j+1].offset
			}
			if c.size == 0 {
				c.size = next - c.offset
			}
			if c.offset != at || c.size <= 0 || c.size > f.Size-at {
				return nil, fmt.Errorf("%w table of contents: the chunks of %s do not follow each other", ErrMalformed, f.At.Path)
			}
			if c.digest == nil && f.digest == nil {
				return nil, fmt.Errorf("%w table of contents: %s has no digest", ErrMalformed, f.At.Path)
			}
			at += c.size
		}
		if at != f.Size {
			return nil, fmt.Errorf("%w table of contents: the chunks of %s have %d of its %d bytes", ErrMalformed, f.At.Path, at, f.Size)
		}
	}
	return t.found, nil
}

// digestOf reads a digest, sha256 in hexadecimal; nil: there is none.
func digestOf(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	sum, err := hex.DecodeString(strings.TrimPrefix(text, "sha256:"))
	if err != nil || len(sum) != sha256.Size || !strings.HasPrefix(text, "sha256:") {
		return nil, fmt.Errorf("%w table of contents: %.80q is no digest", ErrMalformed, text)
	}
	return sum, nil
}

// Content returns the file's content, of the packed bytes from Start to End. Its
// last byte, and that of each chunk, is given only once the digests are what the
// table says. It has no end but the file's size; reserve is as for Unpack.
func (f TableFile) Content(packed io.Reader, limits Limits, reserve func(bytes int64) (release func(), err error)) (io.ReadCloser, error) {
	unpacked, err := Unpack(packed, limits, reserve)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, unpacked, f.inner); err != nil {
		_ = unpacked.Close()
		return nil, short(err, f.At.Path)
	}
	return &tableContent{ReadCloser: unpacked, file: f, whole: sha256.New(), part: sha256.New()}, nil
}

// tableContent verifies a file as it goes by.
type tableContent struct {
	io.ReadCloser
	file        TableFile
	whole, part hash.Hash
	chunk       int   // the present one
	read        int64 // of it
}

// Read implements io.Reader.
func (c *tableContent) Read(p []byte) (int, error) {
	if c.chunk == len(c.file.chunks) {
		return 0, io.EOF
	}
	chunk := c.file.chunks[c.chunk]
	p = p[:min(int64(len(p)), chunk.size-c.read)]
	n, err := c.ReadCloser.Read(p)
	c.whole.Write(p[:n])
	c.part.Write(p[:n])
	c.read += int64(n)
	if c.read < chunk.size {
		return n, short(err, c.file.At.Path)
	}
	if chunk.digest != nil && !bytes.Equal(c.part.Sum(nil), chunk.digest) {
		return 0, fmt.Errorf("%w: chunk %d of %s does not have the digest that the table of contents says", ErrMalformed, c.chunk, c.file.At.Path)
	}
	c.part.Reset()
	c.chunk, c.read = c.chunk+1, 0
	if c.chunk == len(c.file.chunks) && c.file.digest != nil && !bytes.Equal(c.whole.Sum(nil), c.file.digest) {
		return 0, fmt.Errorf("%w: %s does not have the digest that the table of contents says", ErrMalformed, c.file.At.Path)
	}
	return n, nil
}

// short says of an early end what it is.
func short(err error, name string) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the content of %s is shorter than the table of contents says", ErrMalformed, name)
	}
	return err
}
