package imagescan

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/capvet/capvet/internal/report"
)

// TestCachesForget: an expired value leaves memory although no request asks for it
// and none is added.
func TestCachesForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newExpiringCache(time.Minute, 1000, 100, func(_ string, size int64) int64 { return size })
		c.add("a", 10)
		time.Sleep(30 * time.Second)
		c.add("b", 20)
		bytes := func() int64 {
			synctest.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.bytes
		}
		for _, want := range []int64{30, 20, 0} {
			if got := bytes(); got != want {
				t.Errorf("%d bytes, want %d", got, want)
			}
			time.Sleep(30 * time.Second)
		}
		c.add("c", 5) // after the cache was empty
		time.Sleep(time.Minute)
		if got := bytes(); got != 0 {
			t.Errorf("%d bytes are left", got)
		}
		if c.add("big", 1001); bytes() != 0 {
			t.Error("a value larger than the cache is stored")
		}
	})
}

// TestCachesAreBoundedInBytes: resolutions, failures and reports are counted with
// their keys and texts.
func TestCachesAreBoundedInBytes(t *testing.T) {
	c := newResolutionCache(time.Hour, time.Hour)
	words := make([]string, 100)
	for i := range words {
		words[i] = strings.Repeat("x", 1000)
	}
	config := &configuration{}
	config.Command = words
	for i := range maxResolutions {
		k := resolutionKey{reference: fmt.Sprint(i)}
		c.resolutions.add(k, resolution{manifest: &manifest{layers: make([]layer, 100)}, config: config})
		c.addFailure(k, newError(strings.Repeat("x", 1000), errors.New(strings.Repeat("é ", 1<<16))))
	}
	perResolution := resolution{manifest: &manifest{layers: make([]layer, 100)}, config: config}.bytes()
	if perResolution < 100_000+100*200 {
		t.Errorf("%d bytes for a resolution", perResolution)
	}
	if n := int64(c.resolutions.order.Len()); n == 0 || n*perResolution > maxResolutionBytes {
		t.Errorf("%d resolutions of %d bytes each", n, perResolution)
	}
	failure, ok := c.failures.get(resolutionKey{reference: fmt.Sprint(maxResolutions - 1)})
	if !ok || len(failure.Err.Error()) > 4*maxErrorText {
		t.Errorf("a failure of %d bytes", len(failure.Err.Error()))
	}

	s := newScanner(t, nil, nil, func(o *setup) { o.Limits.ReportCache = 100_000 })
	large := report.New()
	large.Gaps = append(large.Gaps, report.Gap{Detail: strings.Repeat("x", 10_000)})
	for i := range 20 {
		s.reports.add(reportKey{digest: fmt.Sprint(i)}, large)
	}
	if n := s.reports.order.Len(); n < 1 || n > 10 {
		t.Errorf("%d reports of 10,000 bytes in a cache of 100,000", n)
	}
}
