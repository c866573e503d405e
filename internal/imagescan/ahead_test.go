package imagescan

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestAhead(t *testing.T) {
	data := []byte(noise(t, 5*aheadBytes+7))
	failing := errors.New("connection reset")
	for _, tt := range []struct {
		name   string
		source io.Reader
		want   []byte
		err    error
	}{
		{"all", bytes.NewReader(data), data, nil},
		{"nothing", bytes.NewReader(nil), nil, nil},
		{"halves", iotest.HalfReader(bytes.NewReader(data)), data, nil},
		{"data with the end", iotest.DataErrReader(bytes.NewReader(data)), data, nil},
		{"an error after data", io.MultiReader(bytes.NewReader(data), iotest.ErrReader(failing)), data, failing},
		{"a panic", io.MultiReader(bytes.NewReader(data), panics{}), data[:5*aheadBytes], errPanic},
		{"an error at once", iotest.ErrReader(io.ErrUnexpectedEOF), nil, io.ErrUnexpectedEOF},
	} {
		a := newAhead(tt.source)
		got, err := io.ReadAll(a)
		if !bytes.Equal(got, tt.want) || !errors.Is(err, tt.err) {
			t.Errorf("%s: %d bytes, %v", tt.name, len(got), err)
		}
		if _, err := a.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: goes on behind its end", tt.name)
		}
		_ = a.Close()
	}
}

// TestAheadClosed: closing half way leaves the source alone, and does not hand
// out an end that is none.
func TestAheadClosed(t *testing.T) {
	source := &endless{}
	a := newAhead(source)
	if _, err := io.ReadFull(a, make([]byte, 10*aheadBytes)); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	before := source.n
	if _, err := io.Copy(io.Discard, a); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("afterwards: %v", err)
	}
	if source.n != before || before > 20*aheadBytes {
		t.Errorf("%d bytes were read, then %d", before, source.n)
	}
	_ = a.Close() // again is no matter
}

type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	e.n += len(p)
	return len(p), nil
}

type panics struct{}

func (panics) Read([]byte) (int, error) { panic("hostile bytes") }
