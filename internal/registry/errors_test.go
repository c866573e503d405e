package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/capvet/capvet/internal/report"
)

func TestFailureClass(t *testing.T) {
	status := func(code int) error { return &transport.Error{StatusCode: code} }
	coded := func(code transport.ErrorCode) error {
		return &transport.Error{StatusCode: http.StatusTeapot, Errors: []transport.Diagnostic{{Code: code}}}
	}
	for _, tt := range []struct {
		err  error
		want report.FailureClass
	}{
		{status(http.StatusUnauthorized), report.FailureUnauthorized},
		{status(http.StatusForbidden), report.FailureUnauthorized},
		{status(http.StatusNotFound), report.FailureNotFound},
		{status(http.StatusGone), report.FailureNotFound},
		{status(http.StatusTooManyRequests), report.FailureRateLimited},
		{status(http.StatusBadGateway), report.FailureRegistry},
		{coded(transport.DeniedErrorCode), report.FailureUnauthorized},
		{coded(transport.ManifestUnknownErrorCode), report.FailureNotFound},
		{coded(transport.TooManyRequestsErrorCode), report.FailureRateLimited},
		{ErrBlocked, report.FailureBlocked},
		{ErrReference, report.FailureMalformed},
		{ErrMalformed, report.FailureMalformed},
		{ErrTooLarge, report.FailureTooLarge},
		{errStalled, report.FailureTimeout},
		{context.DeadlineExceeded, report.FailureTimeout},
		{errors.New("connection refused"), report.FailureRegistry},
	} {
		if got := FailureClass(fmt.Errorf("wrapped: %w", tt.err)); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.err, got, tt.want)
		}
	}
}
