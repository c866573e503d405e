package imagescan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/capvet/capvet/internal/report"
)

// inMemory is the largest file that is kept in memory while it is analysed;
// larger ones go through a temporary file.
const inMemory = 32 << 20

// analyse buffers one file and has it analysed. Its error says that the layer
// could not be read; that the file could not be analysed is part of found.
func (s *Scanner) analyse(ctx context.Context, name string, size int64, content io.Reader) (found, error) {
	budget := min(size, inMemory, s.options.Limits.Memory)
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
	binary, err := s.analyseSafely(at, size, name)
	return found{binary, err}, nil
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
