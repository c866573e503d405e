//go:build integration

package bounds

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// hostileRegistry answers some requests as it likes, and all others as an honest registry does.
type hostileRegistry struct {
	*httptest.Server

	honest  http.Handler
	answers sync.Map // of http.HandlerFunc, by path
}

func (r *hostileRegistry) host() string { return strings.TrimPrefix(r.URL, "http://") }

// ServeHTTP implements http.Handler.
func (r *hostileRegistry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if answer, ok := r.answers.Load(request.URL.Path); ok {
		answer.(http.HandlerFunc)(w, request)
		return
	}
	r.honest.ServeHTTP(w, request)
}

func digestOf(content []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(content)) }

// serve offers a manifest or index as a tag, with the blobs that it may name, and returns the reference.
func (r *hostileRegistry) serve(repository string, mediaType types.MediaType, manifest []byte, blobs ...[]byte) string {
	content := func(mediaType types.MediaType, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, request *http.Request) {
			w.Header().Set("Content-Type", string(mediaType))
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			if request.Method != http.MethodHead {
				_, _ = w.Write(body) // a client that leaves is none of its business
			}
		}
	}
	r.answers.Store("/v2/"+repository+"/manifests/1", content(mediaType, manifest))
	r.answers.Store("/v2/"+repository+"/manifests/"+digestOf(manifest), content(mediaType, manifest))
	for _, blob := range blobs {
		r.answers.Store("/v2/"+repository+"/blobs/"+digestOf(blob), content("application/octet-stream", blob))
	}
	return r.host() + "/" + repository + ":1"
}

// drip makes a path answer with a status and a body that never ends, a byte each tenth of a second.
func (r *hostileRegistry) drip(path string, status int) {
	r.answers.Store(path, http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		w.WriteHeader(status)
		for request.Context().Err() == nil {
			if _, err := w.Write([]byte{' '}); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(100 * time.Millisecond)
		}
	}))
}

// manifestOf returns an image's manifest with a configuration and gzip layers.
func manifestOf(config []byte, layers ...[]byte) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"size":%d,"digest":%q},"layers":[`,
		types.OCIManifestSchema1, types.OCIConfigJSON, len(config), digestOf(config))
	for i, layer := range layers {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"mediaType":%q,"size":%d,"digest":%q}`, types.OCILayer, len(layer), digestOf(layer))
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

// halt makes a path answer with the beginning of a body, and then nothing.
func (r *hostileRegistry) halt(path string, beginning []byte) {
	r.answers.Store(path, http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(beginning)+1<<20))
		_, _ = w.Write(beginning)
		w.(http.Flusher).Flush()
		<-request.Context().Done()
	}))
}
