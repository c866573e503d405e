package reviewserver

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDiscardedBytes bounds the part of a review beyond maxReviewBytes that is received, so
// that the client sees the answer. An API server accepts 3 MiB for an object, and JSON can
// write a byte as six: both objects have at most 36 MiB.
const maxDiscardedBytes = 40 << 20

// receive discards the rest of a body, or returns an error if it is too long.
func receive(body io.Reader) error {
	switch _, err := io.CopyN(io.Discard, body, maxDiscardedBytes); {
	case err == nil:
		return fmt.Errorf("a review of more than %d bytes", maxReviewBytes+maxDiscardedBytes)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("reading a review: %w", err)
	}
	return nil
}

// decodeHead returns the request of a review without its objects, from a text that may end
// within them. An API server writes all other fields that capvet needs before the objects.
func decodeHead(review []byte) (Request, error) {
	decoder := jsontext.NewDecoder(bytes.NewReader(review), jsontext.AllowDuplicateNames(true))
	if _, err := decoder.ReadToken(); err != nil {
		return Request{}, fmt.Errorf("decoding a review: %w", err)
	}
	if err := skipTo(decoder, "request"); err != nil {
		return Request{}, err
	}
	if _, err := decoder.ReadToken(); err != nil {
		return Request{}, fmt.Errorf("decoding a review: %w", err)
	}
	if err := skipTo(decoder, "object", "oldObject", "options"); err != nil {
		return Request{}, err
	}
	// The last name is that of an object, which may be incomplete.
	return decodeReview(append(bytes.Clone(review[:decoder.InputOffset()]), ":null}}"...))
}

// skipTo reads names and values of the present object up to one of these names.
func skipTo(decoder *jsontext.Decoder, names ...string) error {
	for {
		token, err := decoder.ReadToken()
		if err != nil {
			return fmt.Errorf("decoding a review: %w", err)
		}
		for _, name := range names {
			if token.Kind() == jsontext.KindString && token.String() == name {
				return nil
			}
		}
		if token.Kind() != jsontext.KindString {
			return errors.New("no request, or one without an object: send AdmissionReviews")
		}
		if err := decoder.SkipValue(); err != nil {
			return fmt.Errorf("decoding a review: %w", err)
		}
	}
}
