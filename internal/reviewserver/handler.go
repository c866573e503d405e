package reviewserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"

	admissionv1 "k8s.io/api/admission/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// Reviewer answers requests.
type Reviewer interface {
	// Handle answers one request by the deadline of ctx. It must not keep the
	// request's objects: their memory is reused.
	Handle(ctx context.Context, req Request) admission.Response
}

// handler serves the reviews of one path.
type handler struct {
	server   *Server
	reviewer Reviewer
}

// review answers a request under the watch for a stall.
func (h *handler) review(ctx context.Context, request Request) admission.Response {
	deadline, _ := ctx.Deadline()
	defer h.server.watch.start(deadline)()
	return h.reviewer.Handle(ctx, request)
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := h.server
	defer func() {
		if p := recover(); p != nil {
			s.log.Error(fmt.Errorf("panic: %v", p), "answering a review", "stack", string(debug.Stack()))
			http.Error(w, "capvet failed on this review; its log has the details", http.StatusInternalServerError)
		}
	}()
	if s.Draining() || s.connections.crowded.Load() {
		w.Header().Set("Connection", "close")
	}
	if status, err := s.clients.authenticate(r.TLS); err != nil {
		w.Header().Set("Connection", "close")
		http.Error(w, err.Error(), status)
		return
	}
	if c := connectionOf(r.Context()); c != nil {
		s.connections.authenticate(c)
	}
	ctx, done := s.deadlines.start(r.Context(), r.URL.Query().Get("timeout"))
	defer done()
	buffer := buffers.Get().(*bytes.Buffer)
	defer recycle(buffer)
	request, release, status, err := s.readReview(ctx, w, r, buffer)
	defer release()
	if err != nil {
		s.log.Error(err, "cannot read a review")
		http.Error(w, err.Error(), status)
		return
	}
	ctx = logf.IntoContext(ctx, lazyValues(s.log, "namespace", request.Namespace, "name", request.Name,
		"user", request.UserInfo.Username, "requestID", request.UID))
	response := h.review(ctx, request)
	response.UID = request.UID
	review := admissionv1.AdmissionReview{Response: &response.AdmissionResponse}
	review.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"))
	buffer.Reset() // the request is no longer needed

	if err := json.NewEncoder(buffer).Encode(review); err != nil { // plain values always encode
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(buffer.Len()))
	if _, err := w.Write(buffer.Bytes()); err != nil {
		s.log.V(1).Info("the client closed the connection before its answer", "error", err.Error())
	}
}
