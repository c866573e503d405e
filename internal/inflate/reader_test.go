package inflate

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// pack compresses content as one member.
func pack(t testing.TB, level int, content []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// contents returns contents that compress in different ways.
func contents() map[string][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 80<<10)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	words := strings.Fields("the kernel logs that haproxy uses 32-bit capabilities legacy support in use at every start")
	var prose strings.Builder
	for prose.Len() < 250<<10 {
		prose.WriteString(words[random.IntN(len(words))] + " ")
	}
	skewed := make([]byte, 250<<10)
	for i := range skewed {
		skewed[i] = byte(random.ExpFloat64() * 12)
	}
	all := map[string][]byte{
		"nothing": nil, "a byte": []byte("a"), "noise": noise, "prose": []byte(prose.String()), "skewed": skewed,
		"zeroes": make([]byte, 500<<10),
	}
	for distance := 1; distance <= 40; distance++ {
		all[fmt.Sprintf("every %d bytes", distance)] = bytes.Repeat(noise[:distance], 300)
	}
	// Matches at the largest distance, after the window moved.
	far := append(slices.Clone(noise[:history]), noise[:history]...)
	all["far"] = bytes.Repeat(far, 5)
	return all
}

func TestReader(t *testing.T) {
	for name, content := range contents() {
		for _, level := range []int{gzip.HuffmanOnly, gzip.NoCompression, gzip.BestSpeed, gzip.DefaultCompression, gzip.BestCompression} {
			got, err := io.ReadAll(NewReader(bytes.NewReader(pack(t, level, content))))
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s, level %d: %d bytes of %d, %v", name, level, len(got), len(content), err)
			}
		}
	}
}

// TestPieces: the sizes of the reads of a stream, and of its source, do not matter.
func TestPieces(t *testing.T) {
	content := contents()["prose"][:40<<10]
	packed := slices.Concat(pack(t, 6, content), pack(t, 0, content), pack(t, 6, nil), pack(t, 9, content))
	want := slices.Concat(content, content, content)
	for name, source := range map[string]io.Reader{
		"byte by byte":   iotest.OneByteReader(bytes.NewReader(packed)),
		"halves":         iotest.HalfReader(bytes.NewReader(packed)),
		"data and EOF":   iotest.DataErrReader(bytes.NewReader(packed)),
		"nothing, often": &hesitant{r: bytes.NewReader(packed)},
	} {
		if err := iotest.TestReader(NewReader(source), want); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// hesitant returns no data from every second Read.
type hesitant struct {
	r   io.Reader
	now bool
}

func (h *hesitant) Read(p []byte) (int, error) {
	if h.now = !h.now; !h.now {
		return 0, nil
	}
	return h.r.Read(p[:min(len(p), 1000)])
}

// headed returns a member with every optional field of a header.
func headed(t testing.TB) []byte {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Name, z.Comment, z.Extra = "layer.tar", "of an image", bytes.Repeat([]byte("x"), 70)
	if _, err := z.Write([]byte("content")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	// compress/gzip writes no header checksum.
	member := packed.Bytes()
	member[3] |= hasHeaderSum
	end := bytes.Index(member, []byte("of an image")) + len("of an image") + 1
	sum := binary.LittleEndian.AppendUint16(nil, uint16(crc32.ChecksumIEEE(member[:end])))
	return slices.Concat(member[:end], sum, member[end:])
}

func TestHeaders(t *testing.T) {
	header := headed(t)
	long := slices.Concat(header[:10], bytes.Repeat([]byte("n"), maxText))
	long[3] = hasName
	tests := []struct {
		name   string
		packed []byte
		want   error
	}{
		{"all fields", header, nil},
		{"nothing", nil, nil},
		{"another format", []byte("PK\x03\x04......."), ErrCorrupt},
		{"another method", append([]byte("\x1f\x8b\x07"), header[3:]...), ErrCorrupt},
		{"an endless name", long, ErrCorrupt},
		{"bytes behind it", append(slices.Clone(header), "garbage behind it"...), ErrCorrupt},
		{"a few bytes behind it", append(slices.Clone(header), 0, 0), io.ErrUnexpectedEOF},
		{"another sum of the header", change(header, bytes.Index(header, []byte("of an"))-len(header)), ErrCorrupt},
		{"another sum", change(header, -8), ErrCorrupt},
		{"another size", change(header, -4), ErrCorrupt},
	}
	for _, test := range tests {
		_, err := io.ReadAll(NewReader(bytes.NewReader(test.packed)))
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

func change(packed []byte, at int) []byte {
	changed := slices.Clone(packed)
	changed[len(changed)+at] ^= 1
	return changed
}

// TestCutShort: a stream truncated within a member gives its data, then
// io.ErrUnexpectedEOF.
func TestCutShort(t *testing.T) {
	content := contents()["skewed"][:4<<10]
	packed := pack(t, 6, content)
	for n := 1; n < len(packed); n++ {
		got, err := io.ReadAll(NewReader(bytes.NewReader(packed[:n])))
		if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix(content, got) {
			t.Fatalf("of %d bytes the first %d: %v", len(packed), n, err)
		}
	}
}

// TestSourceErrors: the source's error follows the data before it.
func TestSourceErrors(t *testing.T) {
	reset := errors.New("connection reset")
	content := contents()["prose"]
	packed := pack(t, 6, content)
	source := io.MultiReader(bytes.NewReader(packed[:len(packed)/2]), iotest.ErrReader(reset))
	z := NewReader(source)
	got, err := io.ReadAll(z)
	if !errors.Is(err, reset) || len(got) < len(content)/3 || !bytes.HasPrefix(content, got) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, again := z.Read(make([]byte, 1)); !errors.Is(again, reset) {
		t.Errorf("the error does not stay: %v", again)
	}
	if _, err := io.ReadAll(NewReader(silent{})); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("of a source that never returns anything: %v", err)
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

// TestBlocks decodes blocks that no compressor writes.
func TestBlocks(t *testing.T) {
	tests := []struct {
		name, block string // hexadecimal
		want        error
	}{
		{"nothing, in fixed codes", "0300", nil},
		{"nothing, stored", "010000ffff", nil},
		{"the reserved kind", "07", ErrCorrupt},
		{"a stored block whose length is contradicted", "0104000000", ErrCorrupt},
		{"a match from before the start", "030200", ErrCorrupt},
		{"the length symbol 286", "1b03", ErrCorrupt},
		{"287 literals", "f5ff00", ErrCorrupt},
		{"31 distances", "05fe00", ErrCorrupt},
		{"code lengths that make no code", "05c0ffffffffffffffff", ErrCorrupt},
	}
	for _, test := range tests {
		block, err := hex.DecodeString(test.block)
		if err != nil {
			t.Fatal(err)
		}
		if err := compare(block); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

// errDiffers reports a difference from compress/flate.
var errDiffers = errors.New("compress/flate differs")

// compare decodes a deflate stream with a Reader and with compress/flate.
func compare(deflated []byte) error {
	source := bytes.NewReader(deflated)
	const limit = 1 << 20
	theirs, failure := io.ReadAll(io.LimitReader(flate.NewReader(source), limit))
	if len(theirs) == limit {
		return nil
	}
	consumed := deflated[:len(deflated)-source.Len()]
	member := memberOf(consumed, theirs)
	if errors.Is(failure, io.ErrUnexpectedEOF) {
		member = member[:len(member)-8] // the trailer's bytes are not to be taken for the stream's
	}
	z := NewReader(bytes.NewReader(member))
	ours, err := io.ReadAll(io.LimitReader(z, limit))
	switch {
	case (err == nil) != (failure == nil), err != nil && z.step == inTrailer:
		return fmt.Errorf("%w: it says %s, the Reader %s", errDiffers, fmt.Sprint(failure), fmt.Sprint(err))
	case err == nil && !bytes.Equal(ours, theirs):
		return fmt.Errorf("%w: it has %d bytes, the Reader %d", errDiffers, len(theirs), len(ours))
	case err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("an error of no kind: %w", err)
	}
	return err
}

// FuzzDeflate: a Reader agrees with compress/flate on any deflate stream.
func FuzzDeflate(f *testing.F) {
	for _, content := range contents() {
		content = content[:min(len(content), 3000)]
		for _, level := range []int{gzip.HuffmanOnly, gzip.NoCompression, gzip.BestSpeed, gzip.BestCompression} {
			packed := pack(f, level, content)
			f.Add(packed[10 : len(packed)-8])
		}
	}
	f.Fuzz(func(t *testing.T, deflated []byte) {
		if err := compare(deflated); errors.Is(err, errDiffers) {
			t.Fatal(err)
		}
	})
}

// FuzzMember: a Reader agrees with compress/gzip on any gzip stream.
func FuzzMember(f *testing.F) {
	f.Add(pack(f, 6, []byte("content")))
	f.Add(slices.Concat(pack(f, 6, []byte("one")), pack(f, 0, []byte("two"))))
	f.Add(headed(f))
	f.Fuzz(func(t *testing.T, packed []byte) {
		const limit = 1 << 20
		var theirs []byte
		z, failure := gzip.NewReader(bytes.NewReader(packed))
		if failure == nil {
			theirs, failure = io.ReadAll(io.LimitReader(z, limit))
		} else if errors.Is(failure, io.EOF) {
			failure = nil
		}
		ours, err := io.ReadAll(io.LimitReader(NewReader(bytes.NewReader(packed)), limit))
		if (err == nil) != (failure == nil) || err == nil && !bytes.Equal(ours, theirs) {
			t.Fatalf("%d bytes, %v; compress/gzip: %d bytes, %v", len(ours), err, len(theirs), failure)
		}
	})
}

// memberOf returns a gzip member of a deflate stream and the bytes after it.
func memberOf(deflated, content []byte) []byte {
	member := append([]byte(identification), make([]byte, 7)...)
	member = append(member, deflated...)
	member = binary.LittleEndian.AppendUint32(member, crc32.ChecksumIEEE(content))
	return binary.LittleEndian.AppendUint32(member, uint32(len(content)))
}
