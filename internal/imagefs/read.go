package imagefs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
)

// Attributes are a file's metadata in its archive.
type Attributes struct {
	// Size is in bytes.
	Size int64
	// Capabilities are the file capabilities in the form of cap_to_text(3); empty
	// for a file without.
	Capabilities string
}

// Visit receives a regular file as it goes by. A later file of the same source
// replaces the earlier one. An error ends the reading and is returned.
type Visit func(at Source, a Attributes, content io.Reader) error

// Selection selects the regular files of a layer.
type Selection struct {
	// Wanted reports whether Visit receives the file or link at a path, and
	// Tree.Named finds it again. Nil selects no file.
	Wanted func(path string) bool
	Visit  Visit
	// VisitOther receives every other file; nil skips them. They are not recorded,
	// and do not count towards Limits.Files.
	VisitOther Visit
}

// ReadLayer reads an uncompressed layer to its end.
func ReadLayer(unpacked io.Reader, limits Limits, selection Selection) (*Layer, error) {
	b := newBuilder(limits, selection.Wanted)
	archive := tar.NewReader(unpacked)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, tarError(err)
		}
		kind := kindOf(header.Typeflag)
		at, d, err := b.entry(header.Name, header.Linkname, kind)
		if err != nil {
			return nil, err
		}
		visit := selection.Visit
		if d == skip {
			visit = selection.VisitOther
		}
		if kind != Regular || d == whiteout || visit == nil {
			continue
		}
		attributes := Attributes{Size: header.Size, Capabilities: capabilities(header.PAXRecords[capabilityRecord])}
		if err := visit(at, attributes, content{archive}); err != nil {
			return nil, err
		}
	}
	// Padding after the end of the archive counts for the layer's digest and its
	// limits.
	if _, err := io.Copy(io.Discard, unpacked); err != nil {
		return nil, err
	}
	return &Layer{parts: b.parts}, nil
}

// content is the content of one file. It classifies the archive's errors, which
// a visitor's errors would otherwise be mixed with.
type content struct{ r io.Reader }

func (c content) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = tarError(err)
	}
	return n, err
}

// tarError wraps ErrMalformed around the errors of archive/tar, several of which
// are not exported.
func tarError(err error) error {
	if classified(err) {
		return err
	}
	return fmt.Errorf("%w tar stream: %w", ErrMalformed, err)
}

// classified reports whether an error wraps one of this package, such as that of
// an underlying stream.
func classified(err error) bool {
	return errors.Is(err, ErrSource) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrMalformed)
}

func kindOf(flag byte) Kind {
	switch flag {
	case tar.TypeReg, tar.TypeRegA, tar.TypeGNUSparse, tar.TypeCont: //nolint:staticcheck // TypeRegA occurs in old archives
		return Regular
	case tar.TypeDir:
		return Directory
	case tar.TypeSymlink:
		return Symlink
	case tar.TypeLink:
		return HardLink
	}
	return Other
}
