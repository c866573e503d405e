package admission

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"

	"github.com/go-logr/logr"
	"golang.org/x/sync/semaphore"
	admissionv1 "k8s.io/api/admission/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const (
	// maxReviewBytes bounds a review: two objects of at most 3 MiB, and the rest.
	maxReviewBytes = 7 << 20
	// reviewStep is in what steps memory is asked for as a review arrives.
	reviewStep = 32 << 10
	// slackBytes is how much garbage more than Go leaves by itself may wait to be
	// collected. Go collects when there is as much of it as is in use: in a cluster
	// that is few enough megabytes to be walked twenty times a second under load,
	// which was a fifth of what a review cost.
	slackBytes = 40 << 20
	// DefaultReviewMemory is how many bytes all reviews have together that are
	// being answered: some thousands of usual ones.
	DefaultReviewMemory = 64 << 20
)

// errBusy says that there are too many reviews at a time.
var errBusy = errors.New("too many reviews at a time; see --max-review-memory")

// Server answers reviews over HTTP. Unlike controller-runtime's own it decodes a
// review once, bounds what all reviews hold together, and answers what it cannot
// read with an HTTP error, which is the failurePolicy's to judge: theirs would
// refuse the object. How long a review may take to arrive is its http.Server's
// ReadTimeout to say.
type Server struct {
	memory *semaphore.Weighted
	log    logr.Logger
	slack  []byte // counts as in use, and is never touched: see slackBytes
}

// NewServer returns a Server whose reviews hold at most so many bytes, as they
// are sent; at least one of the largest fits.
func NewServer(memory int64, log logr.Logger) *Server {
	return &Server{memory: semaphore.NewWeighted(max(memory, maxReviewBytes+2*reviewStep)), log: log, slack: make([]byte, slackBytes)}
}

// buffers hold a review, and then the answer to it. Without them they would be a
// quarter of the garbage that a review makes.
var buffers = sync.Pool{New: func() any { return &bytes.Buffer{} }}

// giveBack keeps a buffer for another review, unless it is far larger than most need.
func giveBack(buffer *bytes.Buffer) {
	if buffer.Cap() <= 2*reviewStep {
		buffer.Reset()
		buffers.Put(buffer)
	}
}

// Reviewer answers requests.
type Reviewer interface {
	// Handle answers one. It keeps none of its objects.
	Handle(ctx context.Context, req Request) admission.Response
}

// Serve lets a reviewer answer reviews.
func (s *Server) Serve(reviewer Reviewer) http.Handler {
	log := s.log
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				log.Error(fmt.Errorf("panic: %v", p), "answering a review", "stack", string(debug.Stack()))
				http.Error(w, "capvet failed on this review; its log has the details", http.StatusInternalServerError)
			}
		}()
		arriving := &metered{r: http.MaxBytesReader(w, r.Body, maxReviewBytes), memory: s.memory}
		defer arriving.release()
		buffer := buffers.Get().(*bytes.Buffer)
		defer giveBack(buffer)
		request, status, err := readReview(w, r, arriving, buffer)
		if err != nil {
			log.Error(err, "cannot read a review")
			http.Error(w, err.Error(), status)
			return
		}
		ctx := logf.IntoContext(r.Context(), about(log, "namespace", request.Namespace, "name", request.Name,
			"user", request.UserInfo.Username, "requestID", request.UID))
		response := reviewer.Handle(ctx, request)
		response.UID = request.UID
		review := admissionv1.AdmissionReview{Response: &response.AdmissionResponse}
		review.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"))
		buffer.Reset() // of the request nothing is needed any more

		if err := json.NewEncoder(buffer).Encode(review); err != nil { // plain values always encode
			panic(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(buffer.Len()))
		if _, err := w.Write(buffer.Bytes()); err != nil {
			log.V(1).Info("whoever asked has gone", "error", err.Error())
		}
	})
}

// metered takes memory for what is read, as it comes: whoever announces much and
// sends little holds little.
type metered struct {
	r          io.Reader
	memory     *semaphore.Weighted
	held, left int64
}

func (m *metered) Read(p []byte) (int, error) {
	if m.left == 0 {
		if !m.memory.TryAcquire(reviewStep) {
			return 0, errBusy
		}
		m.held, m.left = m.held+reviewStep, reviewStep
	}
	n, err := m.r.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	return n, err
}

func (m *metered) release() { m.memory.Release(m.held) }
