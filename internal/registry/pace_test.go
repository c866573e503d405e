package registry

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/capvet/capvet/internal/report"
)

// drip sends one piece per read.
type drip struct {
	left, piece int
	wait        time.Duration
}

func (d *drip) Read(p []byte) (int, error) {
	time.Sleep(d.wait)
	n := min(d.left, d.piece, len(p))
	if d.left -= n; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (d *drip) Close() error { return nil }

// TestPace: a dripping answer fails; a slow one does not, nor one with a slow
// reader.
func TestPace(t *testing.T) {
	for name, tt := range map[string]struct {
		body  drip
		pause time.Duration // of the reader
		want  bool
	}{
		"a drip":                         {drip{1000, 1, 200 * time.Millisecond}, 0, true},
		"just too slow":                  {drip{1000, 9, time.Second}, 0, true},
		"slow":                           {drip{1000, 10, time.Second}, 0, false},
		"slow pieces":                    {drip{1000, 100, 9 * time.Second}, 0, false},
		"over before the time is":        {drip{5, 1, time.Second}, 0, false},
		"fast, for one who reads slowly": {drip{1000, 1, 0}, time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &pacedBody{ReadCloser: &tt.body, pace: pace{100, 10 * time.Second}}
				_, err := io.Copy(io.Discard, slowly{d, tt.pause})
				if errors.Is(err, errStalled) != tt.want || !tt.want && err != nil {
					t.Errorf("got %v", err)
				}
				if err != nil && FailureClass(err) != report.FailureTimeout {
					t.Errorf("its class is %s", FailureClass(err))
				}
			})
		})
	}
}

// slowly pauses before each read.
type slowly struct {
	io.Reader
	pause time.Duration
}

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(s.pause)
	return s.Reader.Read(p[:min(len(p), 100)])
}
