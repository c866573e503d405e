package imagescan

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/registry"
	"github.com/capvet/capvet/internal/report"
)

// Error is the failure to read an image.
type Error struct {
	Class     report.FailureClass
	Reference string
	Err       error
}

// Error returns one line without secrets: go-containerregistry redacts the URLs
// in its own errors.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s", report.Shorten(e.Reference, registry.MaxReferenceBytes), e.text())
}

// text returns one bounded line about the error's cause.
func (e *Error) text() string {
	text := e.Err.Error()
	line := []rune(strings.Join(strings.Fields(text[:min(len(text), maxErrorBytes)]), " "))
	return string(line[:min(len(line), maxErrorText)])
}

// Bounds of an error's text, in runes and in bytes before its spaces are joined:
// it may quote a registry's answer.
const (
	maxErrorText  = 500
	maxErrorBytes = 8 << 10
)

func (e *Error) Unwrap() error { return e.Err }

// FailureClass returns the class that policies act on.
func (e *Error) FailureClass() report.FailureClass { return e.Class }

var (
	errBusy        = errors.New("too many images wait to be read")
	errNoSuchImage = errors.New("not there")
)

// newError classifies an error.
func newError(reference string, err error) *Error {
	if classified, ok := errors.AsType[*Error](err); ok {
		return classified
	}
	return &Error{Class: classify(err), Reference: reference, Err: err}
}

// classify returns the class of an error. Package registry classifies those of
// registries, HTTP statuses included.
func classify(err error) report.FailureClass {
	switch {
	case errors.Is(err, layers.ErrPanic), errors.Is(err, layers.ErrSpool): // before any class of the disk's own error
		return report.FailureInternal
	case errors.Is(err, errNoSuchImage), errors.Is(err, fs.ErrNotExist):
		return report.FailureNotFound
	case errors.Is(err, imagefs.ErrTooLarge):
		return report.FailureTooLarge
	case errors.Is(err, errBusy):
		return report.FailureTimeout
	case errors.Is(err, imagefs.ErrMalformed):
		return report.FailureMalformed
	}
	return registry.FailureClass(err)
}
