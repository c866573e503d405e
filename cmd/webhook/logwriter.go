package main

import (
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const (
	// maxLogBytes bounds the lines that wait for the reader of the log: some thousands.
	maxLogBytes = 1 << 20
	// logFlushTime bounds how long the end of the process waits for that reader.
	logFlushTime = 2 * time.Second
)

// logWriter writes lines to a log in the background. A pipe that is full because its reader has
// stopped would otherwise stop each request that logs. Lines beyond maxLogBytes are dropped and
// counted; once the reader is back, a line has their number.
type logWriter struct {
	out     io.Writer
	report  func(dropped int) // writes the number to out
	dropped prometheus.Counter

	mu      sync.Mutex
	arrived *sync.Cond
	queue   [][]byte
	bytes   int // of queue and of the line that is being written
	lost    int // lines dropped since the last report
	closed  bool
	done    chan struct{}
}

func newLogWriter(out io.Writer, r prometheus.Registerer, report func(dropped int)) *logWriter {
	w := &logWriter{out: out, report: report, done: make(chan struct{}), dropped: promauto.With(r).NewCounter(prometheus.CounterOpts{
		Name: "capvet_log_lines_dropped_total",
		Help: "Lines of the log that were dropped, because its reader did not keep up or the write failed.",
	})}
	w.arrived = sync.NewCond(&w.mu)
	go w.run()
	return w
}

// Write implements io.Writer for one line. It never blocks on the log.
func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.bytes+len(line) > maxLogBytes {
		w.lost++
		w.dropped.Inc()
		w.arrived.Signal()
		return len(line), nil
	}
	w.queue = append(w.queue, append([]byte(nil), line...))
	w.bytes += len(line)
	w.arrived.Signal()
	return len(line), nil
}

// run writes the lines in their order, until the writer is closed and its queue is empty.
func (w *logWriter) run() {
	defer close(w.done)
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && w.lost == 0 && !w.closed {
			w.arrived.Wait()
		}
		if len(w.queue) == 0 && w.lost == 0 {
			w.mu.Unlock()
			return
		}
		lines, lost := w.queue, w.lost
		w.queue, w.lost = nil, 0
		w.mu.Unlock()
		for _, line := range lines {
			_, err := w.out.Write(line)
			w.mu.Lock()
			w.bytes -= len(line)
			if err != nil {
				w.lost++
				w.dropped.Inc()
			}
			w.mu.Unlock()
		}
		if lost > 0 {
			w.report(lost)
		}
	}
}

// close writes the lines that wait, for at most logFlushTime. Later lines are dropped.
func (w *logWriter) close() {
	w.mu.Lock()
	w.closed = true
	w.arrived.Signal()
	w.mu.Unlock()
	select {
	case <-w.done:
	case <-time.After(logFlushTime):
	}
}
