package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestLogOfNobody: a pipe without a reader stops no line, and the lines that wait for it are
// bounded. When the reader is back, it gets the first lines in order, and the number of those
// dropped.
func TestLogOfNobody(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	registry := prometheus.NewRegistry()
	log, w := newLogger(options{logFormat: "json"}, writer, registry)
	const lines = 100_000
	for i := range lines {
		log.Info("judged", "line", i, "filler", strings.Repeat("x", 100))
	}
	lost := dropped(t, registry)
	w.mu.Lock()
	waiting := w.bytes
	w.mu.Unlock()
	if lost == 0 || waiting > maxLogBytes {
		t.Fatalf("%d lines dropped, %d bytes wait", lost, waiting)
	}
	read := bufio.NewScanner(reader)
	for i := range lines - lost {
		if !read.Scan() || !strings.Contains(read.Text(), fmt.Sprintf(`"line":%d,`, i)) {
			t.Fatalf("line %d: %q %v", i, read.Text(), read.Err())
		}
	}
	if !read.Scan() || !strings.Contains(read.Text(), fmt.Sprintf(`"lines":%d`, lost)) {
		t.Errorf("%d were dropped, the log has %q", lost, read.Text())
	}
	log.Info("the reader is back")
	w.close()
	if !read.Scan() || !strings.Contains(read.Text(), "the reader is back") {
		t.Errorf("afterwards the log has %q", read.Text())
	}
}

// TestLogEnds: the end of the process waits for the log, though not for a reader that is gone.
func TestLogEnds(t *testing.T) {
	var out bytes.Buffer
	log, w := newLogger(options{logFormat: "text"}, &out, prometheus.NewRegistry())
	log.Info("last words")
	w.close()
	log.Info("too late")
	if got := out.String(); !strings.Contains(got, "last words") || strings.Contains(got, "late") {
		t.Errorf("%q", got)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	log, w = newLogger(options{logFormat: "json"}, writer, prometheus.NewRegistry())
	log.Info(strings.Repeat("x", maxLogBytes/2))
	w.close()
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// TestBrokenLog: a failed write is counted, and does not end the writer.
func TestBrokenLog(t *testing.T) {
	registry := prometheus.NewRegistry()
	log, w := newLogger(options{logFormat: "json"}, broken{}, registry)
	log.Info("a")
	log.Info("b")
	w.close()
	if got := dropped(t, registry); got != 2 {
		t.Errorf("%d lines dropped", got)
	}
}

// dropped returns the only metric of a registry.
func dropped(t *testing.T, registry *prometheus.Registry) int {
	t.Helper()
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "capvet_log_lines_dropped_total" {
		t.Fatal(families, err)
	}
	return int(families[0].Metric[0].Counter.GetValue())
}
