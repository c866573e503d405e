package registry

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/capvet/capvet/internal/report"
)

var (
	// ErrBlocked reports a connection that capvet's own rules refuse.
	ErrBlocked = errors.New("capvet does not connect there")
	// ErrReference reports a malformed image reference.
	ErrReference = errors.New("not an image reference")
	// ErrMalformed reports content without the expected digest or size.
	ErrMalformed = errors.New("malformed")
	// ErrTooLarge reports an answer over its size limit.
	ErrTooLarge = errors.New("too large")
)

// FailureClass returns the class of an error from a registry: its own errors,
// expired contexts, network timeouts and HTTP status codes. Any other error is
// report.FailureRegistry.
func FailureClass(err error) report.FailureClass {
	var answer *transport.Error
	var network net.Error
	switch {
	case errors.Is(err, ErrBlocked):
		return report.FailureBlocked
	case errors.Is(err, ErrTooLarge):
		return report.FailureTooLarge
	case errors.Is(err, errStalled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return report.FailureTimeout
	case errors.Is(err, ErrMalformed), errors.Is(err, ErrReference):
		return report.FailureMalformed
	case errors.As(err, &answer):
		return classOfAnswer(answer)
	case errors.As(err, &network) && network.Timeout():
		return report.FailureTimeout
	}
	return report.FailureRegistry
}

// classOfAnswer maps an error answer to its class: the error codes of the body
// first (OCI distribution specification, "Error Codes"), then the HTTP status.
// A 401 or 403 becomes report.FailureUnauthorized.
func classOfAnswer(err *transport.Error) report.FailureClass {
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
