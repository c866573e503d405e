package imagescan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// Error says why an image could not be read.
type Error struct {
	Class     report.FailureClass
	Reference string
	Err       error
}

// Error returns one line without secrets: go-containerregistry redacts the URLs
// in its own errors.
func (e *Error) Error() string {
	text := []rune(strings.Join(strings.Fields(e.Err.Error()), " "))
	return fmt.Sprintf("%s: %s", e.Reference, string(text[:min(len(text), maxErrorText)]))
}

// maxErrorText bounds, in runes, what an error says: a registry's answer may be
// part of it.
const maxErrorText = 500

func (e *Error) Unwrap() error { return e.Err }

// FailureClass returns the class by which policies judge.
func (e *Error) FailureClass() report.FailureClass { return e.Class }

var (
	errBlocked     = errors.New("capvet does not connect there")
	errReference   = errors.New("not an image reference")
	errNoSuchImage = errors.New("not there")
	errPanic       = errors.New("the scan failed inside capvet")
)

// newError finds an error's class.
func newError(reference string, err error) *Error {
	var classed *Error
	if errors.As(err, &classed) {
		return classed
	}
	return &Error{Class: classify(err), Reference: reference, Err: err}
}

func classify(err error) report.FailureClass {
	var registry *transport.Error
	var network net.Error
	switch {
	case errors.Is(err, errPanic):
		return report.FailureInternal
	case errors.Is(err, errBlocked), refusedRedirect(err):
		return report.FailureBlocked
	case errors.Is(err, errNoSuchImage), errors.Is(err, fs.ErrNotExist):
		return report.FailureNotFound
	case errors.Is(err, imagefs.ErrTooLarge):
		return report.FailureTooLarge
	case errors.Is(err, errStalled), errors.Is(err, errBusy), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return report.FailureTimeout
	case errors.Is(err, imagefs.ErrMalformed), errors.Is(err, errReference), failedVerification(err):
		return report.FailureMalformed
	case errors.As(err, &registry):
		return classOfStatus(registry)
	case errors.As(err, &network) && network.Timeout():
		return report.FailureTimeout
	}
	return report.FailureRegistry
}

func classOfStatus(err *transport.Error) report.FailureClass {
	for _, diagnostic := range err.Errors {
		switch diagnostic.Code {
		case transport.ManifestUnknownErrorCode, transport.NameUnknownErrorCode, transport.BlobUnknownErrorCode:
			return report.FailureNotFound
		case transport.UnauthorizedErrorCode, transport.DeniedErrorCode:
			return report.FailureUnauthorized
		case transport.TooManyRequestsErrorCode:
			return report.FailureRateLimited
		}
	}
	switch err.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return report.FailureUnauthorized
	case http.StatusNotFound, http.StatusGone:
		return report.FailureNotFound
	case http.StatusTooManyRequests:
		return report.FailureRateLimited
	}
	return report.FailureRegistry
}

// failedVerification recognises go-containerregistry's errors for content that
// does not have its digest or size; their types are internal there.
func failedVerification(err error) bool {
	return strings.Contains(err.Error(), "error verifying") || strings.Contains(err.Error(), "does not match expected size")
}

// refusedRedirect recognises go-containerregistry's own refusal to follow a
// redirect to a private address.
func refusedRedirect(err error) bool { return strings.Contains(err.Error(), "SSRF protection") }
