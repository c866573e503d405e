package admission

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// maxReviewBytes bounds a review: two objects of at most 3 MiB, and the rest.
const maxReviewBytes = 7 << 20

// Serve lets a handler answer reviews over HTTP. Unlike controller-runtime's own
// it decodes a review once, and answers what it cannot read with an HTTP error,
// which is the failurePolicy's to judge: theirs would refuse the object.
func Serve(handler admission.Handler, log logr.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				log.Error(fmt.Errorf("panic: %v", p), "answering a review", "stack", string(debug.Stack()))
				http.Error(w, "capvet failed on this review; its log has the details", http.StatusInternalServerError)
			}
		}()
		request, status, err := readReview(w, r)
		if err != nil {
			log.Error(err, "cannot read a review")
			http.Error(w, err.Error(), status)
			return
		}
		ctx := logf.IntoContext(r.Context(), log.WithValues("namespace", request.Namespace, "name", request.Name,
			"user", request.UserInfo.Username, "requestID", request.UID))
		response := handler.Handle(ctx, request)
		if err := response.Complete(request); err != nil {
			log.Error(err, "cannot complete an answer")
			http.Error(w, "capvet failed on this review; its log has the details", http.StatusInternalServerError)
			return
		}
		review := admissionv1.AdmissionReview{Response: &response.AdmissionResponse}
		review.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"))
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(review); err != nil {
			log.V(1).Info("whoever asked has gone", "error", err.Error())
		}
	})
}

// readReview returns a review's request; with an error, the HTTP status for it.
func readReview(w http.ResponseWriter, r *http.Request) (admission.Request, int, error) {
	if contentType := r.Header.Get("Content-Type"); contentType != "application/json" {
		return admission.Request{}, http.StatusUnsupportedMediaType, fmt.Errorf("a review of type %q: send application/json", contentType)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReviewBytes))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return admission.Request{}, http.StatusRequestEntityTooLarge, fmt.Errorf("a review of more than %d bytes", tooLarge.Limit)
		}
		return admission.Request{}, http.StatusBadRequest, fmt.Errorf("reading a review: %w", err)
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil {
		return admission.Request{}, http.StatusBadRequest, fmt.Errorf("decoding a review: %w", err)
	}
	if review.Request == nil || review.APIVersion != admissionv1.SchemeGroupVersion.String() {
		return admission.Request{}, http.StatusBadRequest, fmt.Errorf("no request, or one of %q: send AdmissionReviews of %s", review.APIVersion, admissionv1.SchemeGroupVersion)
	}
	return admission.Request{AdmissionRequest: *review.Request}, http.StatusOK, nil
}
