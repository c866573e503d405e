package admission

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json" // encoding/json/v2 of Go 1.27
	"github.com/go-json-experiment/json/jsontext"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Request is as much of an AdmissionRequest as is looked at.
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

	// Object and OldObject are in JSON as they were sent, since most are not looked
	// at; empty where there is none.
	Object, OldObject []byte `json:"-"`
}

// readReview returns a review's request; with an error, the HTTP status for it.
// The request's objects lie in buffer.
func readReview(w http.ResponseWriter, r *http.Request, arriving io.Reader, buffer *bytes.Buffer) (Request, int, error) {
	if contentType := r.Header.Get("Content-Type"); contentType != "application/json" {
		return Request{}, http.StatusUnsupportedMediaType, fmt.Errorf("a review of type %q: send application/json", contentType)
	}
	// What is announced is believed as far as a first step goes.
	buffer.Grow(bytes.MinRead + int(min(max(r.ContentLength, 0), reviewStep)))
	_, err := buffer.ReadFrom(arriving)
	if err == nil {
		// It has arrived. A deadline for that would end the judging too.
		err = http.NewResponseController(w).SetReadDeadline(time.Time{})
	}
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		var tooLarge *http.MaxBytesError
		if errors.Is(err, errBusy) {
			return Request{}, http.StatusServiceUnavailable, err
		}
		if errors.As(err, &tooLarge) {
			return Request{}, http.StatusRequestEntityTooLarge, fmt.Errorf("a review of more than %d bytes", tooLarge.Limit)
		}
		return Request{}, http.StatusBadRequest, fmt.Errorf("reading a review: %w", err)
	}
	review := buffer.Bytes()
	var sent struct {
		APIVersion string `json:"apiVersion"`
		Request    *struct {
			Request
			Object    span `json:"object"`
			OldObject span `json:"oldObject"`
		} `json:"request"`
	}
	if err := json.Unmarshal(review, &sent, jsontext.AllowDuplicateNames(true)); err != nil {
		return Request{}, http.StatusBadRequest, fmt.Errorf("decoding a review: %w", err)
	}
	if sent.Request == nil || sent.APIVersion != admissionv1.SchemeGroupVersion.String() {
		return Request{}, http.StatusBadRequest, fmt.Errorf("no request, or one of %q: send AdmissionReviews of %s", sent.APIVersion, admissionv1.SchemeGroupVersion)
	}
	request := sent.Request.Request
	request.Object, request.OldObject = sent.Request.Object.of(review), sent.Request.OldObject.of(review)
	return request, http.StatusOK, nil
}

// span is where a value lies in a text, which is not copied.
type span struct{ from, to int }

// UnmarshalJSONFrom notes where the next value lies, nothing of null.
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
