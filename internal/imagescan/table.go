package imagescan

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/capvet/capvet/internal/imagefs"
)

// Annotations of a layer that has a table of contents, and with which digest.
const (
	// stargz-snapshotter, docs/estargz.md: the digest of the table unpacked.
	annotationEStargz = "containerd.io/snapshot/stargz/toc.digest"
	// containers/storage, docs/containers-storage-zstd-chunked.md: the digest of
	// the table packed, and its offset, its sizes packed and unpacked, and kind.
	annotationZstdChecksum = "io.github.containers.zstd-chunked.manifest-checksum"
	annotationZstdPosition = "io.github.containers.zstd-chunked.manifest-position"
)

const (
	// estargzFooter is the size, in bytes, of the gzip member that ends an
	// eStargz layer: an empty one with a field that says where the table is.
	estargzFooter = 51
	// estargzTable is the name of the table in the tar stream that holds it.
	estargzTable = "stargz.index.json"
	// zstdTableKind is the only kind of table that zstd:chunked has.
	zstdTableKind = "1"
)

// errTable says that a layer is not read through its table of contents. It is
// then read in full, as if it had none.
var errTable = errors.New("no table of contents to go by")

// table is what an image's manifest says of a layer's table of contents. The
// zero value: there is none.
type table struct {
	digest string // sha256, in hexadecimal
	// Of zstd:chunked; of eStargz the footer says where the table is.
	zstd                     bool
	offset, packed, unpacked int64
}

// tableOf reads a layer's annotations. A layer with annotations of both forms has
// none: others may read the other.
func tableOf(d v1.Descriptor) table {
	stargz, isStargz := d.Annotations[annotationEStargz]
	checksum, isZstd := d.Annotations[annotationZstdChecksum]
	digest, err := v1.NewHash(stargz + checksum)
	if isStargz == isZstd || err != nil || digest.Algorithm != "sha256" {
		return table{}
	}
	if isStargz {
		return table{digest: digest.Hex}
	}
	t := table{digest: digest.Hex, zstd: true}
	numbers := strings.Split(d.Annotations[annotationZstdPosition], ":")
	if len(numbers) != 4 || numbers[3] != zstdTableKind {
		return table{}
	}
	for i, to := range []*int64{&t.offset, &t.packed, &t.unpacked} {
		if *to, err = strconv.ParseInt(numbers[i], 10, 64); err != nil || *to <= 0 {
			return table{}
		}
	}
	if t.offset > d.Size || t.packed > d.Size-t.offset {
		return table{}
	}
	return t
}

// withTables says of layers that have a table of contents to read them through
// it, unless all executables are looked at: any file may be one.
func (s *Scanner) withTables(blobs []blob, from source, manifest *v1.Manifest) []blob {
	named, ok := from.(*session)
	if !s.options.Tables || !ok {
		return blobs
	}
	for i, d := range manifest.Layers {
		t := tableOf(d)
		if t == (table{}) || d.Size < s.options.Limits.TableFrom || blobs[i].gap != "" || blobs[i].others {
			continue
		}
		blobs[i].table, blobs[i].key.table = t, t
		blobs[i].part = func(ctx context.Context, from, to int64) (io.ReadCloser, error) {
			return named.part(ctx, d, from, to)
		}
	}
	return blobs
}

// part opens a range of a blob, which nobody has verified.
func (s *session) part(ctx context.Context, d v1.Descriptor, from, to int64) (io.ReadCloser, error) {
	if from < 0 || from >= to || to > d.Size {
		return nil, fmt.Errorf("%w: the bytes %d to %d of %d", imagefs.ErrMalformed, from, to, d.Size)
	}
	ask := func(ctx context.Context, at int64) (*http.Response, error) {
		want := fmt.Sprintf("%d-%d", from+at, to-1)
		response, err := s.get(ctx, false, "blobs", d.Digest.String(), http.Header{"Range": {"bytes=" + want}})
		if err != nil {
			return nil, err
		}
		if got := response.Header.Get("Content-Range"); response.StatusCode != http.StatusPartialContent || got != fmt.Sprintf("bytes %s/%d", want, d.Size) {
			_ = response.Body.Close()
			return nil, fmt.Errorf("%w: asked for the bytes %s of %d, the registry gives %q with status %d", errTable, want, d.Size, got, response.StatusCode)
		}
		return response, nil
	}
	response, err := ask(ctx, 0) //nolint:bodyclose // the download closes it
	if err != nil {
		return nil, err
	}
	body := &download{ctx: ctx, ask: ask, body: response.Body, pace: s.pace}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(body, to-from), body}, nil
}

// readThroughTable reads a layer's table of contents and the files of interest
// that it lists. Only they are verified, against the digests of the table, and the
// table against that of the manifest. The error wraps errTable unless ctx ended.
func (s *Scanner) readThroughTable(ctx context.Context, b blob, before *summary, wanted map[string]bool) (of *summary, err error) {
	defer func() {
		if p := recover(); p != nil { // a decompressor's, over hostile bytes
			of, err = nil, fmt.Errorf("%w: %v", errTable, p)
		}
	}()
	of, err = s.readTable(ctx, b, before, wanted)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errTable, err)
	}
	return of, nil
}

func (s *Scanner) readTable(ctx context.Context, b blob, before *summary, wanted map[string]bool) (*summary, error) {
	layer, files, err := s.tableOfContents(ctx, b, s.wants(wanted))
	if err != nil {
		return nil, err
	}
	left := b.size // files lie beside each other: together they have no more than the layer
	for _, f := range files {
		if left -= f.End - f.Start; left < 0 {
			return nil, fmt.Errorf("%w table of contents: its files lie over each other", imagefs.ErrMalformed)
		}
	}
	f := s.findings(before, false)
	defer f.wait()
	for _, file := range files {
		err := f.take(file.At, file.Attributes, func() (*heldFile, error) { return s.holdPart(ctx, b, file) })
		if err != nil {
			return nil, err
		}
	}
	return &summary{layer: layer, files: f.all(), stored: b.size, throughTable: true}, nil
}

// holdPart takes one file out of the layer.
func (s *Scanner) holdPart(ctx context.Context, b blob, file imagefs.TableFile) (*heldFile, error) {
	if file.Size == 0 {
		return s.hold(ctx, file.At.Path, 0, strings.NewReader(""))
	}
	packed, err := b.part(ctx, file.Start, file.End)
	if err != nil {
		return nil, err
	}
	closePacked := closeWith(ctx, packed)
	defer closePacked()
	content, err := file.Content(packed, s.options.Limits.Layer, s.window(ctx))
	if err != nil {
		return nil, err
	}
	defer content.Close()
	return s.hold(ctx, file.At.Path, file.Size, content)
}

// window reserves the memory of zstd windows.
func (s *Scanner) window(ctx context.Context) func(int64) (func(), error) {
	return func(n int64) (func(), error) { return s.windows.acquire(ctx, n) }
}

// tableOfContents reads and verifies a layer's table.
func (s *Scanner) tableOfContents(ctx context.Context, b blob, wanted func(string) bool) (*imagefs.Layer, []imagefs.TableFile, error) {
	from, to := b.table.offset, b.table.offset+b.table.packed
	if !b.table.zstd {
		var err error
		if from, err = s.footer(ctx, b); err != nil {
			return nil, nil, err
		}
		to = b.size - estargzFooter
	}
	limit := s.options.Limits.TableBytes
	if size := max(to-from, b.table.unpacked); size > limit {
		return nil, nil, fmt.Errorf("%w: the table of contents has %d bytes, the limit is %d", imagefs.ErrTooLarge, size, limit)
	}
	packed, err := b.part(ctx, from, to)
	if err != nil {
		return nil, nil, err
	}
	closePacked := closeWith(ctx, packed)
	defer closePacked()
	sum := sha256.New()
	var stored io.Reader = packed
	if b.table.zstd {
		stored = io.TeeReader(packed, sum)
	}
	unpacked, err := imagefs.Unpack(stored, s.options.Limits.Layer, s.window(ctx))
	if err != nil {
		return nil, nil, err
	}
	defer unpacked.Close()
	content := io.LimitReader(unpacked, b.table.unpacked)
	if !b.table.zstd {
		archive := tar.NewReader(unpacked)
		header, err := archive.Next()
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("%w table of contents: %w", imagefs.ErrMalformed, err)
		case header.Name != estargzTable || header.Typeflag != tar.TypeReg:
			return nil, nil, fmt.Errorf("%w table of contents: %.80q stands in its place", imagefs.ErrMalformed, header.Name)
		case header.Size > limit:
			return nil, nil, fmt.Errorf("%w: the table of contents has %d bytes, the limit is %d", imagefs.ErrTooLarge, header.Size, limit)
		}
		content = io.TeeReader(archive, sum)
	}
	layer, files, err := imagefs.ReadTable(content, s.options.Limits.Layer, from, wanted)
	if err != nil {
		return nil, nil, err
	}
	if _, err := io.Copy(io.Discard, stored); err != nil { // what follows it packed, which the digest is of too
		return nil, nil, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != b.table.digest {
		return nil, nil, fmt.Errorf("%w: the table of contents has the digest sha256:%s", imagefs.ErrMalformed, got)
	}
	return layer, files, nil
}

// footer returns where the table of an eStargz layer begins (stargz-snapshotter,
// docs/estargz.md, "Footer").
func (s *Scanner) footer(ctx context.Context, b blob) (int64, error) {
	packed, err := b.part(ctx, b.size-estargzFooter, b.size) // which refuses a layer that is smaller
	if err != nil {
		return 0, err
	}
	raw, err := readAll(ctx, packed, estargzFooter)
	if err != nil {
		return 0, err
	}
	malformed := fmt.Errorf("%w eStargz footer", imagefs.ErrMalformed)
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return 0, malformed
	}
	extra := z.Extra
	const digits, mark = 16, "STARGZ"
	if len(extra) != 4+digits+len(mark) || string(extra[:2]) != "SG" || binary.LittleEndian.Uint16(extra[2:]) != uint16(digits+len(mark)) || string(extra[4+digits:]) != mark {
		return 0, malformed
	}
	offset, err := strconv.ParseInt(string(extra[4:4+digits]), 16, 64)
	if err != nil || offset <= 0 || offset >= b.size-estargzFooter {
		return 0, malformed
	}
	return offset, nil
}
