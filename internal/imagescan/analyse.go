package imagescan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// inMemory is the largest file that is kept in memory while it is analysed;
// larger ones go through a temporary file.
const inMemory = 32 << 20

// elfMagic is how an ELF file begins.
const elfMagic = "\x7fELF"

// analyse buffers one file and has it analysed. Its error says that the layer
// could not be read; that the file could not be analysed is part of found.
func (s *Scanner) analyse(ctx context.Context, name string, size int64, content io.Reader) (found, error) {
	if limit := s.options.Limits.FileBytes; size > limit {
		// Whether it matters is not known before all layers are.
		return found{err: fmt.Errorf("%w: it has %d bytes, the limit is %d", imagefs.ErrTooLarge, size, limit), elf: true}, nil
	}
	budget := min(size, inMemory, s.options.Limits.Memory/2)
	if err := s.memory.Acquire(ctx, budget); err != nil {
		return found{}, err
	}
	defer s.memory.Release(budget)
	var at io.ReaderAt
	if size <= inMemory {
		buffer := bytes.NewBuffer(make([]byte, 0, size))
		if _, err := io.Copy(buffer, content); err != nil {
			return found{}, err
		}
		at = bytes.NewReader(buffer.Bytes())
	} else {
		file, err := os.CreateTemp("", "capvet-")
		if err != nil {
			return found{}, fmt.Errorf("a temporary file for %s: %w", name, err)
		}
		defer os.Remove(file.Name())
		defer file.Close()
		if _, err := io.Copy(file, content); err != nil {
			return found{}, err
		}
		at = file
	}
	magic := make([]byte, len(elfMagic))
	n, err := at.ReadAt(magic, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return found{}, err
	}
	binary, err := s.analyseSafely(at, size, name)
	return found{binary, err, string(magic[:n]) == elfMagic}, nil
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
