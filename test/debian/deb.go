package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strings"
)

// MaxExtract bounds the size of a file that Extract returns, in bytes.
const MaxExtract = 256 << 20

// Field returns a field of the package's control file, "" if it is absent.
func Field(ctx context.Context, deb, name string) (string, error) {
	var stderr bytes.Buffer
	command := exec.CommandContext(ctx, "dpkg-deb", "--field", deb, name)
	command.Stderr = &stderr
	output, err := command.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", ErrNoApt
	}
	if err != nil {
		return "", fmt.Errorf("reading the control file of %s (remove it to have it fetched anew): %w: %s", deb, err, complaint(stderr.String()))
	}
	return strings.TrimSpace(string(output)), nil
}

// Depends returns the names of the packages that deb depends on, the first of
// each set of alternatives, versions left out.
func Depends(ctx context.Context, deb string) ([]string, error) {
	field, err := Field(ctx, deb, "Depends")
	if err != nil {
		return nil, err
	}
	var names []string
	for clause := range strings.SplitSeq(field, ",") {
		if words := strings.FieldsFunc(clause, func(r rune) bool { return strings.ContainsRune(" \t\n(|:", r) }); len(words) > 0 {
			names = append(names, words[0])
		}
	}
	return names, nil
}

// Filesystem returns the package's files as an uncompressed tar stream. Reading
// or Close fails when the package is damaged; Close must be called.
func Filesystem(ctx context.Context, deb string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	command := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	stream := &filesystem{deb: deb, command: command, cancel: cancel}
	command.Stderr = &stream.stderr
	command.WaitDelay = killGrace
	var err error
	if stream.pipe, err = command.StdoutPipe(); err != nil {
		cancel()
		return nil, err
	}
	if err := command.Start(); err != nil {
		cancel()
		if errors.Is(err, exec.ErrNotFound) {
			return nil, ErrNoApt
		}
		return nil, err
	}
	return stream, nil
}

type filesystem struct {
	deb     string
	command *exec.Cmd
	cancel  context.CancelFunc
	pipe    io.ReadCloser
	stderr  bytes.Buffer
	ended   bool // the stream was read to its end
	closed  bool
}

func (f *filesystem) Read(p []byte) (int, error) {
	n, err := f.pipe.Read(p)
	f.ended = f.ended || errors.Is(err, io.EOF)
	return n, err
}

// Close ends the process. It fails only if the stream was read to its end and
// the process failed: stopping early is no failure.
func (f *filesystem) Close() error {
	if f.closed {
		return nil
	}
	f.closed = true
	if !f.ended {
		// dpkg-deb has a child of its own, which a closed pipe ends.
		f.pipe.Close()
		f.cancel()
	}
	err := f.command.Wait()
	f.cancel()
	if err != nil && f.ended {
		return fmt.Errorf("unpacking %s (remove it to have it fetched anew): %w: %s", f.deb, err, complaint(f.stderr.String()))
	}
	return nil
}

// Unpack writes the package's files into the folder dir, which is made if need
// be. No script of the package runs.
func Unpack(ctx context.Context, deb, dir string) error {
	var stderr bytes.Buffer
	command := exec.CommandContext(ctx, "dpkg-deb", "--extract", deb, dir)
	command.Stderr = &stderr
	err := command.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return ErrNoApt
	}
	if err != nil {
		return fmt.Errorf("unpacking %s (remove it to have it fetched anew): %w: %s", deb, err, complaint(stderr.String()))
	}
	return nil
}

// Extract returns the content of the regular file at the absolute path name in
// the package. Symbolic links are not followed.
func Extract(ctx context.Context, deb, name string) ([]byte, error) {
	stream, err := Filesystem(ctx, deb)
	if err != nil {
		return nil, err
	}
	content, err := find(tar.NewReader(stream), path.Clean("/"+name))
	if err := errors.Join(err, stream.Close()); err != nil {
		return nil, fmt.Errorf("%s of %s: %w", name, deb, err)
	}
	return content, nil
}

func find(files *tar.Reader, name string) ([]byte, error) {
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("there is no such file in the package")
		}
		if err != nil {
			return nil, err
		}
		if path.Clean("/"+header.Name) != name {
			continue
		}
		if header.Typeflag != tar.TypeReg {
			return nil, errors.New("it is not a regular file")
		}
		if header.Size > MaxExtract {
			return nil, fmt.Errorf("it has %d bytes, more than %d", header.Size, MaxExtract)
		}
		return io.ReadAll(files)
	}
}
