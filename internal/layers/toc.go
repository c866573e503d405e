package layers

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/capvet/capvet/internal/imagefs"
)

// Annotations of a layer with a table of contents.
const (
	// stargz-snapshotter, docs/estargz.md: the digest of the uncompressed table.
	annotationEStargz = "containerd.io/snapshot/stargz/toc.digest"
	// containers/storage, docs/containers-storage-zstd-chunked.md: the digest of
	// the compressed table, and its offset, its sizes compressed and uncompressed,
	// and its type, separated by colons.
	annotationZstdChecksum = "io.github.containers.zstd-chunked.manifest-checksum"
	annotationZstdPosition = "io.github.containers.zstd-chunked.manifest-position"
)

const (
	// estargzFooter is the size, in bytes, of the gzip member that ends an eStargz
	// layer: an empty member whose extra field holds the offset of the table.
	estargzFooter = 51
	// estargzTOC is the name of the table in the tar stream that holds it.
	estargzTOC = "stargz.index.json"
	// zstdTOCType is the only type of table in zstd:chunked.
	zstdTOCType = "1"
)

// TOC locates a layer's table of contents as the image's manifest describes it.
// The zero value means no table.
type TOC struct {
	digest string // sha256, in hexadecimal
	// The position in a zstd:chunked layer; that in an eStargz layer stands in its
	// footer.
	zstd                     bool
	offset, packed, unpacked int64
}

// IsTOCAnnotation reports whether ParseTOC reads an annotation.
func IsTOCAnnotation(key string) bool {
	return key == annotationEStargz || key == annotationZstdChecksum || key == annotationZstdPosition
}

// ParseTOC parses the annotations of a layer. A layer with annotations of both
// formats has no table: other readers may choose the other one.
func ParseTOC(d v1.Descriptor) TOC {
	stargz, isStargz := d.Annotations[annotationEStargz]
	checksum, isZstd := d.Annotations[annotationZstdChecksum]
	digest, err := v1.NewHash(stargz + checksum)
	if isStargz == isZstd || err != nil || digest.Algorithm != "sha256" {
		return TOC{}
	}
	if isStargz {
		return TOC{digest: digest.Hex}
	}
	t := TOC{digest: digest.Hex, zstd: true}
	numbers := strings.Split(d.Annotations[annotationZstdPosition], ":")
	if len(numbers) != 4 || numbers[3] != zstdTOCType {
		return TOC{}
	}
	for i, to := range []*int64{&t.offset, &t.packed, &t.unpacked} {
		if *to, err = strconv.ParseInt(numbers[i], 10, 64); err != nil || *to <= 0 {
			return TOC{}
		}
	}
	if t.offset > d.Size || t.packed > d.Size-t.offset {
		return TOC{}
	}
	return t
}

// readThroughTOC reads a layer's table of contents and its selected files. The
// digest in the manifest verifies the table, the table's digests the files.
func (r *Reader) readThroughTOC(ctx context.Context, b Blob, before *Summary, wanted map[string]bool) (_ *Summary, err error) {
	defer recoverAs(&err, ErrPanic) // of a decompressor, over hostile bytes
	layer, files, err := r.readTOC(ctx, b, r.selects(wanted))
	if err != nil {
		return nil, err
	}
	room := b.Size // the files do not overlap: together they fit into the layer
	for _, f := range files {
		if room -= f.End - f.Start; room < 0 {
			return nil, fmt.Errorf("%w table of contents: its files lie over each other", imagefs.ErrMalformed)
		}
	}
	a := r.newAnalyses(before, false)
	defer a.wait()
	for _, f := range files {
		if err := a.add(f.At, f.Attributes, func() (*spooledFile, error) { return r.spoolRange(ctx, b, f) }); err != nil {
			return nil, err
		}
	}
	s := &Summary{layer: layer, files: a.results(), stored: b.Size, throughTOC: true}
	return s.measured(), nil
}

// spoolRange fetches one file of the layer and copies it.
func (r *Reader) spoolRange(ctx context.Context, b Blob, f imagefs.TOCFile) (*spooledFile, error) {
	if f.Size == 0 {
		return r.spool(ctx, f.At.Path, 0, strings.NewReader(""))
	}
	packed, err := b.Range(ctx, f.Start, f.End)
	if err != nil {
		return nil, err
	}
	defer packed.Close()
	content, err := f.Content(packed, r.Limits.Layer, r.reserveWindow(ctx))
	if err != nil {
		return nil, err
	}
	defer content.Close()
	return r.spool(ctx, f.At.Path, f.Size, content)
}

// readTOC reads and verifies a layer's table of contents.
func (r *Reader) readTOC(ctx context.Context, b Blob, wanted func(string) bool) (*imagefs.Layer, []imagefs.TOCFile, error) {
	start, end := b.TOC.offset, b.TOC.offset+b.TOC.packed
	if !b.TOC.zstd {
		var err error
		if start, err = readFooter(ctx, b); err != nil {
			return nil, nil, err
		}
		end = b.Size - estargzFooter
	}
	limit := r.Limits.TOCBytes
	tooLarge := func(size int64) error {
		return fmt.Errorf("%w: the table of contents has %d bytes, the limit is %d", imagefs.ErrTooLarge, size, limit)
	}
	if size := max(end-start, b.TOC.unpacked); size > limit {
		return nil, nil, tooLarge(size)
	}
	packed, err := b.Range(ctx, start, end)
	if err != nil {
		return nil, nil, err
	}
	defer packed.Close()
	sum := sha256.New()
	var stored io.Reader = packed
	if b.TOC.zstd {
		stored = io.TeeReader(packed, sum)
	}
	unpacked, err := imagefs.Unpack(stored, r.Limits.Layer, r.reserveWindow(ctx))
	if err != nil {
		return nil, nil, err
	}
	defer unpacked.Close()
	content := io.LimitReader(unpacked, b.TOC.unpacked)
	if !b.TOC.zstd {
		archive := tar.NewReader(unpacked)
		header, err := archive.Next()
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("%w table of contents: %w", imagefs.ErrMalformed, err)
		case header.Name != estargzTOC || header.Typeflag != tar.TypeReg:
			return nil, nil, fmt.Errorf("%w table of contents: %.80q stands in its place", imagefs.ErrMalformed, header.Name)
		case header.Size > limit:
			return nil, nil, tooLarge(header.Size)
		}
		content = io.TeeReader(archive, sum)
	}
	layer, files, err := imagefs.ReadTOC(content, r.Limits.Layer, start, wanted)
	if err != nil {
		return nil, nil, err
	}
	if _, err := io.Copy(io.Discard, stored); err != nil { // the digest covers trailing bytes too
		return nil, nil, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != b.TOC.digest {
		return nil, nil, fmt.Errorf("%w: the table of contents has the digest sha256:%s", imagefs.ErrMalformed, got)
	}
	return layer, files, nil
}

// readFooter returns the offset of the table in an eStargz layer
// (stargz-snapshotter, docs/estargz.md, "Footer").
func readFooter(ctx context.Context, b Blob) (int64, error) {
	packed, err := b.Range(ctx, b.Size-estargzFooter, b.Size) // fails for a smaller layer
	if err != nil {
		return 0, err
	}
	defer packed.Close()
	raw := make([]byte, estargzFooter)
	if _, err := io.ReadFull(packed, raw); err != nil {
		return 0, err
	}
	malformed := fmt.Errorf("%w eStargz footer", imagefs.ErrMalformed)
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return 0, malformed
	}
	extra := z.Extra
	const digits, magic = 16, "STARGZ"
	if len(extra) != 4+digits+len(magic) || string(extra[:2]) != "SG" ||
		binary.LittleEndian.Uint16(extra[2:]) != uint16(digits+len(magic)) || string(extra[4+digits:]) != magic {
		return 0, malformed
	}
	offset, err := strconv.ParseInt(string(extra[4:4+digits]), 16, 64)
	if err != nil || offset <= 0 || offset >= b.Size-estargzFooter {
		return 0, malformed
	}
	return offset, nil
}
