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

// Request is as much of an AdmissionRequest as is looked at, its objects as they
// were sent: most are not looked at.
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
	Object    jsontext.Value `json:"object"`
	OldObject jsontext.Value `json:"oldObject"`
	DryRun    *bool          `json:"dryRun"`
}

// absent reports whether an object was not sent.
func absent(object jsontext.Value) bool {
	return len(object) == 0 || object.Kind() == jsontext.KindNull
}

// readReview returns a review's request; with an error, the HTTP status for it.
func readReview(w http.ResponseWriter, r *http.Request, arriving io.Reader) (Request, int, error) {
	if contentType := r.Header.Get("Content-Type"); contentType != "application/json" {
		return Request{}, http.StatusUnsupportedMediaType, fmt.Errorf("a review of type %q: send application/json", contentType)
	}
	body, err := readBody(r, arriving)
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
	var sent struct {
		APIVersion string   `json:"apiVersion"`
		Request    *Request `json:"request"`
	}
	if err := json.Unmarshal(body, &sent, jsontext.AllowDuplicateNames(true)); err != nil {
		return Request{}, http.StatusBadRequest, fmt.Errorf("decoding a review: %w", err)
	}
	if sent.Request == nil || sent.APIVersion != admissionv1.SchemeGroupVersion.String() {
		return Request{}, http.StatusBadRequest, fmt.Errorf("no request, or one of %q: send AdmissionReviews of %s", sent.APIVersion, admissionv1.SchemeGroupVersion)
	}
	return *sent.Request, http.StatusOK, nil
}

// readBody reads all that arrives. What is announced is believed as far as a
// first step goes.
func readBody(r *http.Request, arriving io.Reader) ([]byte, error) {
	body := bytes.NewBuffer(make([]byte, 0, bytes.MinRead+min(max(r.ContentLength, 0), reviewStep)))
	_, err := body.ReadFrom(arriving)
	return body.Bytes(), err
}
