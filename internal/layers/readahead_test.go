package layers

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/iotest"
)

func TestReadahead(t *testing.T) {
	data := noise(t, 5*readaheadBytes+7)
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
		{"a panic", io.MultiReader(bytes.NewReader(data), panics{}), data[:5*readaheadBytes], ErrPanic},
		{"an error at once", iotest.ErrReader(io.ErrUnexpectedEOF), nil, io.ErrUnexpectedEOF},
	} {
		a := newReadahead(tt.source, &sync.Pool{})
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

// TestReadaheadSkips: skipped bytes count as read, up to the end or error of the source.
func TestReadaheadSkips(t *testing.T) {
	data := noise(t, 5*readaheadBytes+7)
	failing := errors.New("connection reset")
	for _, tt := range []struct {
		name   string
		source io.Reader
		skip   int64
		from   int64 // of the next byte
		err    error
	}{
		{"nothing", bytes.NewReader(data), 0, 1, nil},
		{"within a chunk", bytes.NewReader(data), 10, 11, nil},
		{"over chunks", bytes.NewReader(data), 3 * readaheadBytes, 3*readaheadBytes + 1, nil},
		{"to the end", bytes.NewReader(data), int64(len(data)) - 1, int64(len(data)), nil},
		{"past the end", bytes.NewReader(data), 1 << 40, int64(len(data)), nil},
		{"into an error", io.MultiReader(bytes.NewReader(data), iotest.ErrReader(failing)), 1 << 40, int64(len(data)), failing},
	} {
		a := newReadahead(tt.source, &sync.Pool{})
		if _, err := io.ReadFull(a, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		at, err := a.Seek(tt.skip, io.SeekCurrent)
		if at != tt.from || !errors.Is(err, tt.err) {
			t.Errorf("%s: at %d, %v; want %d, %v", tt.name, at, err, tt.from, tt.err)
		}
		if rest, _ := io.ReadAll(a); !bytes.Equal(rest, data[tt.from:]) {
			t.Errorf("%s: %d bytes follow, want %d", tt.name, len(rest), len(data[tt.from:]))
		}
		for _, whence := range []int{io.SeekStart, io.SeekEnd} {
			if _, err := a.Seek(0, whence); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s: from %d: %v", tt.name, whence, err)
			}
		}
		_ = a.Close()
	}
}

// TestReadaheadClosed: after Close the source is not read, and reading fails with an
// error other than io.EOF.
func TestReadaheadClosed(t *testing.T) {
	source := &endless{}
	a := newReadahead(source, &sync.Pool{})
	if _, err := io.ReadFull(a, make([]byte, 10*readaheadBytes)); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	before := source.n
	if _, err := io.Copy(io.Discard, a); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("afterwards: %v", err)
	}
	if source.n != before || before > 20*readaheadBytes {
		t.Errorf("%d bytes were read, then %d", before, source.n)
	}
	_ = a.Close() // a second time
}

func noise(t *testing.T, size int) []byte {
	t.Helper()
	b := make([]byte, size)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	e.n += len(p)
	return len(p), nil
}

type panics struct{}

func (panics) Read([]byte) (int, error) { panic("hostile bytes") }
