package imagescan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// Bounds of manifests, indexes and configurations. No image that a build tool
// makes comes near them: the size of a document does not bound the memory of its
// elements, which may be as short as "{},".
const (
	// maxEntries bounds the entries of an index: the largest official images have
	// about 30, with attestations.
	maxEntries = 1024
	// maxMembers bounds the members of one object, the labels and annotations
	// among them.
	maxMembers = 4096
	// maxHistory bounds the steps of a build: a few for each layer.
	maxHistory = 4096
	// maxWords bounds the words of ENTRYPOINT and CMD, and the variables of ENV.
	maxWords = 4096
	// maxWordBytes is the longest word or variable that Linux passes to a program
	// (MAX_ARG_STRLEN, execve(2)).
	maxWordBytes = 128 << 10
	// maxTokenBytes bounds media types, digests, platforms, users and paths.
	maxTokenBytes = 4 << 10
	// maxDocumentBytes bounds other text, such as the command of a build's step.
	maxDocumentBytes = 8 << 20
	// maxSkipped bounds the tokens of one unused value.
	maxSkipped = 64 << 10
	// maxNesting is the deepest nesting of lists and objects: OCI's have 5.
	maxNesting = 64
)

// document decodes JSON as a stream, within bounds. Its errors wrap ErrMalformed
// or ErrTooLarge of package imagefs.
//
// It reads as encoding/json does, which container runtimes use: letter case in
// names is ignored, and null is an absent value. Where a used name occurs twice
// in an object, readers may choose either value: such a document is malformed.
type document struct {
	decoder *jsontext.Decoder
	kind    string // for errors
}

// field is a used member of an object.
type field struct {
	name string
	read func() error
}

// decode reads one JSON value, an object with the given fields.
func decode(kind string, raw []byte, fields func(*document) []field) error {
	d := newDocument(kind, raw)
	if err := d.object(fields(d)...); err != nil {
		return err
	}
	return d.end()
}

// decodeList reads one JSON value, a list with the given elements.
func decodeList(kind string, raw []byte, element func(*document) error) error {
	d := newDocument(kind, raw)
	if err := d.list(maxEntries, func() error { return element(d) }); err != nil {
		return err
	}
	return d.end()
}

func newDocument(kind string, raw []byte) *document {
	return &document{kind: kind, decoder: jsontext.NewDecoder(bytes.NewBuffer(raw),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
}

// end checks that the document ends here.
func (d *document) end() error {
	if _, err := d.decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return d.malformed("something follows its end")
	}
	return nil
}

func (d *document) malformed(detail string) error {
	return fmt.Errorf("%w %s: %s", imagefs.ErrMalformed, d.kind, detail)
}

func (d *document) tooLarge(what string, limit int) error {
	return fmt.Errorf("%s: %w: %s, the limit is %d", d.kind, imagefs.ErrTooLarge, what, limit)
}

// place names the next value for errors.
func (d *document) place() string {
	return strconv.Quote(report.Shorten(string(d.decoder.StackPointer()), maxPlaceBytes))
}

// maxPlaceBytes bounds a place in an error.
const maxPlaceBytes = 100

// next reads a token.
func (d *document) next() (jsontext.Token, error) {
	token, err := d.decoder.ReadToken()
	switch {
	case err != nil:
		return token, d.malformed(report.Shorten(err.Error(), maxTokenBytes))
	case d.decoder.StackDepth() > maxNesting:
		return token, d.tooLarge("lists and objects are nested too deep", maxNesting)
	}
	return token, nil
}

// open reads the start of a list or an object; false for null.
func (d *document) open(kind jsontext.Kind, name string) (bool, error) {
	token, err := d.next()
	switch {
	case err != nil:
		return false, err
	case token.Kind() == 'n':
		return false, nil
	case token.Kind() != kind:
		return false, d.malformed(d.place() + " is no " + name)
	}
	return true, nil
}

// list calls element before each element of a list, of which there are at most
// limit.
func (d *document) list(limit int, element func() error) error {
	some, err := d.open('[', "list")
	if !some {
		return err
	}
	for n := 0; d.decoder.PeekKind() != ']'; n++ {
		if n == limit {
			return d.tooLarge("the list "+d.place()+" is too long", limit)
		}
		if err := element(); err != nil {
			return err
		}
	}
	_, err = d.next()
	return err
}

// members calls member before each value of an object, with its name.
func (d *document) members(member func(name string) error) error {
	some, err := d.open('{', "object")
	if !some {
		return err
	}
	for n := 0; d.decoder.PeekKind() != '}'; n++ {
		if n == maxMembers {
			return d.tooLarge("the object at "+d.place()+" has too many members", maxMembers)
		}
		name, err := d.next()
		if err != nil {
			return err
		}
		if err := member(name.String()); err != nil {
			return err
		}
	}
	_, err = d.next()
	return err
}

// object reads the given fields of an object, and skips the others.
func (d *document) object(fields ...field) error {
	seen := make([]bool, len(fields))
	return d.members(func(name string) error {
		for i, f := range fields {
			if !strings.EqualFold(f.name, name) {
				continue
			}
			if seen[i] {
				return d.malformed(d.place() + " occurs twice")
			}
			seen[i] = true
			return f.read()
		}
		return d.skip()
	})
}

// skip passes over a value.
func (d *document) skip() error {
	depth := d.decoder.StackDepth()
	for range maxSkipped {
		if _, err := d.next(); err != nil || d.decoder.StackDepth() <= depth {
			return err
		}
	}
	return d.tooLarge("the value of "+d.place()+" has too many parts", maxSkipped)
}

// text reads a string of at most limit bytes; empty for null.
func (d *document) text(limit int) (string, error) {
	token, err := d.next()
	switch {
	case err != nil:
		return "", err
	case token.Kind() == 'n':
		return "", nil
	case token.Kind() != '"':
		return "", d.malformed(d.place() + " is no string")
	}
	text := token.String()
	if len(text) > limit {
		return "", d.tooLarge("the string "+d.place()+" is too long", limit)
	}
	return text, nil
}

// token returns a field with a short string.
func (d *document) token(name string, to *string) field {
	return field{name, func() (err error) {
		*to, err = d.text(maxTokenBytes)
		return err
	}}
}

// number returns a field with an integer.
func (d *document) number(name string, to *int64) field {
	return field{name, func() error {
		token, err := d.next()
		if err != nil || token.Kind() == 'n' {
			return err
		}
		if token.Kind() == '0' {
			if *to, err = strconv.ParseInt(token.String(), 10, 64); err == nil {
				return nil
			}
		}
		return d.malformed(d.place() + " is no integer")
	}}
}

// digest returns a field with a digest.
func (d *document) digest(name string, to *v1.Hash) field {
	return field{name, func() error {
		text, err := d.text(maxTokenBytes)
		if err != nil {
			return err
		}
		if *to, err = v1.NewHash(text); err != nil {
			return d.malformed(d.place() + " is no digest")
		}
		return nil
	}}
}

// texts returns a field with a list of strings, and calls each with every one.
func (d *document) texts(name string, each func(string)) field {
	return field{name, func() error {
		return d.list(maxWords, func() error {
			text, err := d.text(maxWordBytes)
			if err == nil {
				each(text)
			}
			return err
		})
	}}
}

// pairs returns a field with an object of strings of at most limit bytes, and calls
// each with every name and string.
func (d *document) pairs(name string, limit int, each func(key, value string)) field {
	return field{name, func() error {
		return d.members(func(key string) error {
			value, err := d.text(limit)
			if err == nil {
				each(key, value)
			}
			return err
		})
	}}
}
