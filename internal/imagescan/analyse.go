package imagescan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// inMemory is the largest file that is kept in memory while it is analysed;
// larger ones go through a temporary file.
const inMemory = 32 << 20

// elfMagic is how an ELF file begins.
const elfMagic = "\x7fELF"

// analysesAtOnce is how many files of one layer are analysed beside its reading.
const analysesAtOnce = 2

// heldFile is a file that was taken out of its layer.
type heldFile struct {
	io.ReaderAt
	size    int64
	release func()
}

// hold takes a file out of its layer, into memory or onto the disk.
func (s *Scanner) hold(ctx context.Context, name string, size int64, content io.Reader) (_ *heldFile, err error) {
	budget := min(size, inMemory, s.options.Limits.Memory/2)
	release, err := s.memory.acquire(ctx, budget)
	if err != nil {
		return nil, err
	}
	h := &heldFile{size: size, release: release}
	defer func() {
		if err != nil {
			h.release()
		}
	}()
	if size <= inMemory {
		buffer := make([]byte, size) // a bytes.Buffer would grow to twice that
		if _, err := io.ReadFull(content, buffer); err != nil {
			return nil, err
		}
		h.ReaderAt = bytes.NewReader(buffer)
		return h, nil
	}
	file, err := os.CreateTemp("", "capvet-")
	if err != nil {
		return nil, fmt.Errorf("a temporary file for %s: %w", name, err)
	}
	h.ReaderAt, h.release = file, func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
		release()
	}
	_, err = io.Copy(file, content)
	return h, err
}

// tooLarge stands for a file over its limit: whether it matters is not known
// before all layers are.
func tooLarge(size, limit int64) found {
	return found{err: fmt.Errorf("%w: it has %d bytes, the limit is %d", imagefs.ErrTooLarge, size, limit), elf: true}
}

// analyse has a file analysed, and lets go of it.
func (s *Scanner) analyse(h *heldFile, name string) found {
	defer h.release()
	magic := make([]byte, len(elfMagic))
	n, err := h.ReadAt(magic, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return found{err: err, elf: true}
	}
	binary, err := s.analyseSafely(h, h.size, name)
	f := found{binary: binary, err: err, elf: string(magic[:n]) == elfMagic}
	if f.elf || h.size > maxText {
		return f
	}
	text, err := io.ReadAll(io.NewSectionReader(h, 0, h.size))
	switch {
	case err != nil:
	case path.Base(name) == path.Base(passwdFile):
		f.users = usersOf(text)
	default:
		f.settings = s.settings(text)
	}
	return f
}

// maxText is the largest text file that is read, in bytes.
const maxText = 1 << 20

// settings reads a file as a configuration; nil: it is none.
func (s *Scanner) settings(text []byte) (read *report.Settings) {
	if s.options.Settings == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			read = nil
		}
	}()
	if settings, ok := s.options.Settings(text); ok {
		return &settings
	}
	return nil
}

// analyseSafely turns a panic over one file into an error about that file.
func (s *Scanner) analyseSafely(r io.ReaderAt, size int64, name string) (binary report.Binary, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the analysis failed inside capvet")
		}
	}()
	return s.options.Analyze(r, size, name)
}
