package imagefs

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
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
	bounded := &pieces{r: toc}
	t := tocReader{builder: newBuilder(limits, wanted), limit: end}
	err := t.read(json.NewDecoder(bounded), bounded)
	switch {
	case err == nil:
		err = t.finish()
	case classified(err):
	case bounded.err != nil:
		err = bounded.err
	default:
		err = fmt.Errorf("%w table of contents: %w", ErrMalformed, err)
	}
	if err != nil {
		return nil, nil, err
	}
	return &Layer{parts: t.parts}, t.files, nil
}

// read reads the table, an object with a list of entries.
func (t *tocReader) read(decoder *json.Decoder, bounded *pieces) error {
	expect := func(delim json.Delim) error {
		bounded.n = 0
		token, err := decoder.Token()
		if err == nil && token != delim {
			err = fmt.Errorf("%v stands where %v should", token, delim)
		}
		return err
	}
	if err := expect('{'); err != nil {
		return err
	}
	for listed := false; decoder.More(); {
		bounded.n = 0
		key, err := decoder.Token()
		if err != nil {
			return err
		}
		if name, ok := key.(string); !ok || !strings.EqualFold(name, "entries") {
			var ignored json.RawMessage
			if err := decoder.Decode(&ignored); err != nil {
				return err
			}
			continue
		}
		if listed {
			return errors.New("it has two lists")
		}
		listed = true
		if err := expect('['); err != nil {
			return err
		}
		for decoder.More() {
			bounded.n = 0
			var e tocEntry
			if err := decoder.Decode(&e); err != nil {
				return err
			}
			if err := t.add(e); err != nil {
				return err
			}
		}
		if err := expect(']'); err != nil {
			return err
		}
	}
	if err := expect('}'); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("something follows it")
	}
	return nil
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
	*builder
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
	if min(e.Offset, e.EndOffset, e.InnerOffset, e.Size, e.ChunkOffset, e.ChunkSize) < 0 || e.InnerOffset > maxInnerOffset {
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
	if _, before := t.latest(hashOf(name)); before != 0 && (before != Directory || kind != Directory) {
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
	f := TOCFile{
		At: at, Attributes: Attributes{Size: e.Size, Capabilities: capabilities(string(e.Xattrs.Capability))},
		Start: e.Offset, End: cmp.Or(e.EndOffset, e.Offset), inner: e.InnerOffset,
	}
	if f.digest, err = parseDigest(e.Digest); err != nil {
		return err
	}
	if e.EndOffset == 0 {
		t.open = append(t.open, len(t.files))
	}
	t.files, t.kept = append(t.files, f), true
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
func (t *tocReader) finish() error {
	t.end(t.limit)
	for i := range t.files {
		f := &t.files[i]
		if f.Size == 0 {
			f.Start, f.End, f.chunks = 0, 0, nil
			continue
		}
		if f.Start >= f.End || f.End > t.limit {
			return fmt.Errorf("%w table of contents: %s has the range %d to %d of %d bytes", ErrMalformed, f.At.Path, f.Start, f.End, t.limit)
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
				return fmt.Errorf("%w table of contents: the chunks of %s do not follow each other", ErrMalformed, f.At.Path)
			}
			if c.digest == nil && f.digest == nil {
				return fmt.Errorf("%w table of contents: %s has no digest", ErrMalformed, f.At.Path)
			}
			at += c.size
		}
		if at != f.Size {
			return fmt.Errorf("%w table of contents: the chunks of %s have %d of its %d bytes", ErrMalformed, f.At.Path, at, f.Size)
		}
	}
	return nil
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
