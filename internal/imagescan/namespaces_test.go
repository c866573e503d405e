package imagescan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/report"
)

// waits counts started scans.
type waits struct{ began atomic.Int64 }

func (*waits) Scanned(time.Duration, report.FailureClass) {}
func (*waits) Shared()                                    {}
func (w *waits) Waited(time.Duration)                     { w.began.Add(1) }

// TestNamespacesByTurns: while one namespace's scans hold their whole share and never
// end, another namespace's scans start at once: of an image of its own, and of the
// last image in the other's queue.
func TestNamespacesByTurns(t *testing.T) {
	const flood = 12
	for _, tt := range []struct {
		name    string
		limits  Limits
		running int // of the flood's
		waiting int
	}{
		{"scans", Limits{Scans: 8}, 6, flood - 6},
		// Each file takes one of eight bytes, of which a quarter is reserved.
		{"memory", Limits{Scans: 32, Memory: 16}, flood, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, block, observer := newServer(t), make(chan struct{}), &waits{}
			analysing := atomic.Int64{}
			scanner := newScanner(t, s, nil, func(o *setup) {
				o.Limits, o.Observer = tt.limits, observer
				o.Inspector.Analyze = func(r io.ReaderAt, size int64, _ string) (report.Binary, error) {
					content, err := io.ReadAll(io.NewSectionReader(r, 0, size))
					if strings.HasPrefix(string(content), "h") {
						analysing.Add(1)
						<-block
					}
					return report.Binary{BuildID: string(content)}, err
				}
			})
			image := func(repository, content string) string {
				return s.push(t, repository+":x", imageOf(t, "arm64", gzipped(archive("usr/sbin/haproxy", content))))
			}
			ask := func(ctx context.Context, namespace, reference string) (report.Report, error) {
				return scanner.Scan(ctx, Request{Reference: reference, Platform: "linux/arm64", Namespace: namespace})
			}
			ended := make(chan error, flood)
			var last string
			for i := range flood {
				content := "h" // a byte, of a file system of its own
				if i == flood-1 {
					content = "s" // small, and asked for last
				}
				// Each image has its own layer, with the same file.
				last = s.push(t, fmt.Sprintf("flood/%d:x", i), imageOf(t, "arm64", gzipped(archive("usr/sbin/haproxy", content, "n", fmt.Sprint(i)))))
				_, before := scanner.Load()
				began := observer.began.Load()
				go func() {
					_, err := ask(t.Context(), "flood", last)
					ended <- err
				}()
				for { // one after the other, so that the small one is last
					if _, waiting := scanner.Load(); waiting > before || observer.began.Load() > began {
						break
					}
					runtime.Gosched()
				}
			}
			for {
				running, waiting := scanner.Load()
				_, files := scanner.fileBudget.load()
				if running == tt.running && waiting == tt.waiting && (tt.waiting > 0 || files > 0) {
					break
				}
				runtime.Gosched()
			}
			if r, err := ask(t.Context(), "small", image("small", "s")); err != nil {
				t.Error(err)
			} else if diff := cmp.Diff([]string{"/usr/sbin/haproxy=s"}, binaries(r)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if tt.waiting > 0 {
				if _, err := ask(t.Context(), "small", last); err != nil {
					t.Errorf("what the flood waits for too: %v", err)
				}
			}
			close(block)
			for range flood {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestTooManyWait: beyond the limit a request fails at once, with the class of a
// timeout, which is not cached.
func TestTooManyWait(t *testing.T) {
	s, block := newServer(t), make(chan struct{})
	scanner := newScanner(t, s, &fake{block: block}, func(o *setup) {
		o.Limits, o.FailureTTL = Limits{Scans: 1, Waiting: 1}, time.Hour
	})
	answers := make(chan error, 3)
	references := make([]string, 3)
	for i := range references {
		references[i] = s.push(t, fmt.Sprintf("busy/%d:x", i), imageOf(t, "arm64", gzipped(archive("haproxy", fmt.Sprint(i)))))
		go func() {
			_, err := scan(t, scanner, references[i])
			answers <- err
		}()
		for i < 2 {
			if running, waiting := scanner.Load(); running+waiting > i {
				break
			}
			runtime.Gosched()
		}
	}
	var failed *Error
	if err := <-answers; !errors.As(err, &failed) || failed.Class != report.FailureTimeout || !errors.Is(err, errBusy) {
		t.Errorf("got %v", err)
	}
	close(block)
	for range 2 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	for _, reference := range references {
		if _, err := scan(t, scanner, reference); err != nil {
			t.Errorf("when all is done: %v", err)
		}
	}
}
