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

// maxTOCEntry is the largest entry of a table of contents, in bytes: each is
// held in memory whole.
const maxTOCEntry = 1 << 20

// maxInnerOffset is the largest offset of a file within its uncompressed range,
// in bytes. Builders combine small files up to a few megabytes.
const maxInnerOffset = 64 << 20

// TOCFile is a selected regular file of a layer's table of contents.
type TOCFile struct {
	At Source
	Attributes
	// Start and End, exclusive, are the range of the compressed layer with the
	// content, in bytes; both 0 for an empty file.
	Start, End int64

	inner  int64 // offset of the content in the uncompressed range
	digest []byte
	chunks []tocChunk
}

// tocChunk is a piece of a file's content.
type tocChunk struct {
	offset, size int64 // in the file; size 0 means up to the next chunk or the end
	digest       []byte
}

// tocEntry is an entry of a table of contents in the JSON format of eStargz and
// zstd:chunked (stargz-snapshotter, docs/estargz.md, "TOC";
// containers/storage, docs/containers-storage-zstd-chunked.md).
type tocEntry struct {
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

// ReadTOC reads a layer's table of contents to its end. end is the offset in the
// compressed layer at which its files end. wanted selects the regular files to
// return, by their clean absolute paths.
//
// An ambiguous table is an error: one with two lists of entries, or with a
// repeated path that is not a directory each time.
func ReadTOC(toc io.Reader, limits Limits, end int64, wanted func(path string) bool) (*Layer, []TOCFile, error) {
	t := tocReader{collector: newCollector(limits, wanted), limit: end}
	bounded := &pieces{r: toc}
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
			var e tocEntry
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
	files, err := t.finish()
	if err != nil {
		return nil, nil, err
	}
	return t.layer(), files, nil
}

// pieces bounds the bytes read for one token or entry of a table.
type pieces struct {
	r   io.Reader
	n   int64
	err error // of r, or of the bound
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.n > maxTOCEntry {
		p.err = fmt.Errorf("%w: the table of contents has an entry of more than %d bytes", ErrTooLarge, maxTOCEntry)
		return 0, p.err
	}
	n, err := p.r.Read(b)
	p.n += int64(n)
	if err != nil && err != io.EOF {
		p.err = err
	}
	return n, err
}

// tocReader assembles a layer from the entries of a table.
type tocReader struct {
	*collector
	limit int64 // offset at which files end
	files []TOCFile
	last  string // the regular file that a following chunk continues
	kept  bool   // last is the last of files
	// open are the files, by index, whose range ends at the next higher offset.
	// Small files share a range.
	open []int
}

func (t *tocReader) add(e tocEntry) error {
	name := Clean(e.Name)
	if e.Offset < 0 || e.EndOffset < 0 || e.InnerOffset < 0 || e.InnerOffset > maxInnerOffset || e.Size < 0 || e.ChunkOffset < 0 ||
		e.ChunkSize < 0 {
		return fmt.Errorf("%w table of contents: %s has a number that cannot be", ErrMalformed, name)
	}
	if e.Type == "chunk" {
		if err := t.count(); err != nil {
			return err
		}
		if name != t.last {
			return fmt.Errorf("%w table of contents: a chunk of %s follows none of it", ErrMalformed, name)
		}
		if t.kept {
			return t.chunk(e)
		}
		t.end(e.Offset)
		return nil
	}
	t.end(e.Offset)
	t.last, t.kept = "", false
	kind, ok := map[string]Kind{"reg": Regular, "dir": Directory, "symlink": Symlink, "hardlink": HardLink, "char": Other, "block": Other,
		"fifo": Other}[e.Type]
	if !ok {
		return fmt.Errorf("%w table of contents: %s is of the type %q, which does not exist", ErrMalformed, name, e.Type)
	}
	if _, before := t.latest(t.top().hash(name)); before != 0 && (before != Directory || kind != Directory) {
		return fmt.Errorf("%w table of contents: %s comes twice", ErrMalformed, name)
	}
	at, d, err := t.entry(e.Name, e.LinkName, kind)
	if err != nil {
		return err
	}
	if kind != Regular {
		return nil
	}
	t.last = name
	if d != keep {
		return nil
	}
	f := TOCFile{At: at, Attributes: Attributes{Size: e.Size, Capabilities: capabilities(string(e.Xattrs.Capability))}, Start: e.Offset,
		End: e.Offset, inner: e.InnerOffset}
	if f.digest, err = parseDigest(e.Digest); err != nil {
		return err
	}
	t.files, t.kept = append(t.files, f), true
	if e.EndOffset > 0 {
		t.files[len(t.files)-1].End = e.EndOffset
	} else {
		t.open = append(t.open, len(t.files)-1)
	}
	return t.chunk(e)
}

// end ends the open ranges at the offset of the next one.
func (t *tocReader) end(next int64) {
	t.open = slices.DeleteFunc(t.open, func(i int) bool {
		ends := next > t.files[i].End
		if ends {
			t.files[i].End = next
		}
		return ends
	})
}

// chunk adds a chunk to the last file.
func (t *tocReader) chunk(e tocEntry) error {
	sum, err := parseDigest(e.ChunkDigest)
	if err != nil {
		return err
	}
	f := &t.files[len(t.files)-1]
	f.chunks = append(f.chunks, tocChunk{e.ChunkOffset, e.ChunkSize, sum})
	if slices.Contains(t.open, len(t.files)-1) {
		f.End = max(f.End, e.Offset)
	}
	return nil
}

// finish checks that the selected files are complete and covered by digests.
func (t *tocReader) finish() ([]TOCFile, error) {
	t.end(t.limit)
	for i := range t.files {
		f := &t.files[i]
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
	return t.files, nil
}

// parseDigest parses a digest, sha256 in hexadecimal. It returns nil for an empty
// text.
func parseDigest(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	sum, err := hex.DecodeString(strings.TrimPrefix(text, "sha256:"))
	if err != nil || len(sum) != sha256.Size || !strings.HasPrefix(text, "sha256:") {
		return nil, fmt.Errorf("%w table of contents: %.80q is no digest", ErrMalformed, text)
	}
	return sum, nil
}

// Content returns the file's content, given the compressed bytes from Start to
// End. The last byte of each chunk is returned only after its digest was
// verified, the last byte of the file after the file's. reserve is as for Unpack.
func (f TOCFile) Content(packed io.Reader, limits Limits, reserve func(bytes int64) (release func(), err error)) (io.ReadCloser, error) {
	unpacked, err := Unpack(packed, limits, reserve)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, unpacked, f.inner); err != nil {
		_ = unpacked.Close()
		return nil, short(err, f.At.Path)
	}
	return &tocContent{ReadCloser: unpacked, file: f, whole: sha256.New(), part: sha256.New()}, nil
}

// tocContent verifies a file as it is read.
type tocContent struct {
	io.ReadCloser
	file        TOCFile
	whole, part hash.Hash
	chunk       int   // index of the current one
	read        int64 // bytes of it
}

// Read implements io.Reader.
func (c *tocContent) Read(p []byte) (int, error) {
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

// short turns an early end of a file into ErrMalformed.
func short(err error, name string) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the content of %s is shorter than the table of contents says", ErrMalformed, name)
	}
	return err
}
