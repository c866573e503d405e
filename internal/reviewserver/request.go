package reviewserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json" // encoding/json/v2 of Go 1.27
	"github.com/go-json-experiment/json/jsontext"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Request holds the fields of an AdmissionRequest that capvet uses.
type Request struct {
	UID         types.UID                   `json:"uid"`
	Resource    metav1.GroupVersionResource `json:"resource"`
	SubResource string                      `json:"subResource"`
	Name        string                      `json:"name"`
	Namespace   string                      `json:"namespace"`
	Operation   admissionv1.Operation       `json:"operation"`
	UserInfo    struct {
		Username string `json:"username"`
	} `json:"userInfo"`
	DryRun *bool `json:"dryRun"`

	// Object and OldObject are the JSON as sent, since most objects are never
	// decoded; empty if the request has no such object.
	Object, OldObject []byte `json:"-"`

	// Unread is the reason why the request comes without its objects: they exceed a limit
	// of the server. Empty if it comes with them.
	Unread string `json:"-"`
}

// readReview reads a review into buffer and returns its request, or an error with the
// HTTP status for it. The request's objects are slices of buffer, which the caller may
// use until it calls release.
func (s *Server) readReview(ctx context.Context, w http.ResponseWriter, r *http.Request, buffer *bytes.Buffer) (
	request Request, release func(), status int, err error,
) {
	release = func() {}
	if contentType := r.Header.Get("Content-Type"); contentType != "application/json" {
		return Request{}, release, http.StatusUnsupportedMediaType, fmt.Errorf("a review of type %q: send application/json", contentType)
	}
	release, err = s.readBody(ctx, w, r, buffer)
	if err == nil {
		// The read deadline would otherwise end the judging too.
		err = http.NewResponseController(w).SetReadDeadline(time.Time{})
	}
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		var tooLarge *http.MaxBytesError
		if errors.Is(err, errBusy) {
			return Request{}, release, http.StatusServiceUnavailable, err
		}
		if errors.As(err, &tooLarge) {
			request, status, err := unreadReview(w, r, buffer.Bytes())
			return request, release, status, err
		}
		return Request{}, release, http.StatusBadRequest, fmt.Errorf("reading a review: %w", err)
	}
	if request, err = decodeReview(buffer.Bytes()); err != nil {
		// The objects may be nested too deep: their author must not escape the policies by that.
		head, headErr := decodeHead(buffer.Bytes())
		if headErr != nil {
			return Request{}, release, http.StatusBadRequest, err
		}
		head.Unread = "they cannot be decoded"
		return head, release, http.StatusOK, nil
	}
	return request, release, http.StatusOK, nil
}

// unreadReview returns the request of a review that begins with head and is too large.
func unreadReview(w http.ResponseWriter, r *http.Request, head []byte) (Request, int, error) {
	request, err := decodeHead(head)
	if err != nil {
		return Request{}, http.StatusRequestEntityTooLarge, fmt.Errorf("a review of more than %d bytes: %w", maxReviewBytes, err)
	}
	if err := receive(r.Body); err != nil {
		return Request{}, http.StatusRequestEntityTooLarge, err
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return Request{}, http.StatusBadRequest, fmt.Errorf("reading a review: %w", err)
	}
	request.Unread = fmt.Sprintf("the review has more than %d bytes", maxReviewBytes)
	return request, http.StatusOK, nil
}

// decodeReview returns the request of a review.
func decodeReview(review []byte) (Request, error) {
	var decoded struct {
		APIVersion string `json:"apiVersion"`
		Request    *struct {
			Request
			Object    span `json:"object"`
			OldObject span `json:"oldObject"`
		} `json:"request"`
	}
	if err := json.Unmarshal(review, &decoded, jsontext.AllowDuplicateNames(true)); err != nil {
		return Request{}, fmt.Errorf("decoding a review: %w", err)
	}
	version := admissionv1.SchemeGroupVersion.String()
	if decoded.Request == nil || decoded.APIVersion != version {
		return Request{}, fmt.Errorf("no request, or one of %q: send AdmissionReviews of %s", decoded.APIVersion, version)
	}
	request := decoded.Request.Request
	request.Object, request.OldObject = decoded.Request.Object.of(review), decoded.Request.OldObject.of(review)
	return request, nil
}

// span is the position of a JSON value in a text, which is not copied.
type span struct{ from, to int }

// UnmarshalJSONFrom records the position of the next value; null has an empty span.
func (s *span) UnmarshalJSONFrom(decoder *jsontext.Decoder) error {
	value, err := decoder.ReadValue()
	*s = span{}
	if err == nil && value.Kind() != jsontext.KindNull {
		end := int(decoder.InputOffset())
		*s = span{end - len(value), end}
	}
	return err
}

func (s span) of(text []byte) []byte { return text[s.from:s.to] }
