package imagefs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
)

// Attributes are what an archive says of a file besides its content.
type Attributes struct {
	// Size is in bytes.
	Size int64
	// Capabilities are the file's own, as cap_to_text(3) writes them; empty: it
	// has none.
	Capabilities string
}

// Visit is given each wanted regular file as it goes by. A later file of the
// same source takes the earlier one's place.
type Visit func(at Source, a Attributes, content io.Reader) error

// Interest says who looks at which regular files. An error of theirs ends the
// reading and is returned.
type Interest struct {
	// Wanted says by its clean absolute path whether a file is for Visit, and
	// found again by Tree.Named.
	Wanted func(path string) bool
	Visit  Visit
	// Others is given all other files as they go by; nil: nobody looks at them.
	// They are not noted, and Limits.Files does not count them.
	Others Visit
}

// ReadLayer reads an unpacked layer to its end. wanted says which regular
// files are handed to visit, by their clean absolute paths. An error of visit
// ends the reading and is returned.
func ReadLayer(unpacked io.Reader, limits Limits, wanted func(path string) bool, visit Visit) (*Layer, error) {
	return ReadLayerFor(unpacked, limits, Interest{Wanted: wanted, Visit: visit})
}

// ReadLayerFor is ReadLayer for more than what is wanted by its path.
func ReadLayerFor(unpacked io.Reader, limits Limits, interest Interest) (*Layer, error) {
	c := newCollector(limits, interest.Wanted)
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
		at, is, err := c.entry(header.Name, header.Linkname, kind)
		if err != nil {
			return nil, err
		}
		visit := interest.Visit
		if is == uninteresting {
			visit = interest.Others
		}
		if kind != Regular || is == mark || visit == nil {
			continue
		}
		attributes := Attributes{Size: header.Size, Capabilities: capabilities(header.PAXRecords[capabilityRecord])}
		if err := visit(at, attributes, content{archive}); err != nil {
			return nil, err
		}
	}
	// Behind the archive's end may come padding. It has to be read for the
	// layer's digest, and to meet the limits.
	if _, err := io.Copy(io.Discard, unpacked); err != nil {
		return nil, err
	}
	return c.layer(), nil
}

// content is one file's. Its errors are told apart here, where they cannot be
// mistaken for those of who reads it.
type content struct{ r io.Reader }

func (c content) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = tarError(err)
	}
	return n, err
}

// tarError gives the errors of archive/tar, not all of which have a name, their
// class; those of the stream beneath have one.
func tarError(err error) error {
	if errors.Is(err, ErrSource) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrMalformed) {
		return err
	}
	return fmt.Errorf("%w tar stream: %w", ErrMalformed, err)
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
