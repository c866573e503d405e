package reviewserver

import (
	"slices"

	"github.com/go-logr/logr"
)

// lazyValues returns a logger that adds values to each of its lines. Unlike
// logr's WithValues it formats them only when a line is written, which most
// reviews do not cause.
func lazyValues(log logr.Logger, values ...any) logr.Logger {
	if log.GetSink() == nil { // discards
		return log
	}
	return log.WithSink(lazySink{log.GetSink(), values})
}

type lazySink struct {
	logr.LogSink
	values []any
}

func (s lazySink) Info(level int, msg string, keysAndValues ...any) {
	s.LogSink.Info(level, msg, slices.Concat(s.values, keysAndValues)...)
}

func (s lazySink) Error(err error, msg string, keysAndValues ...any) {
	s.LogSink.Error(err, msg, slices.Concat(s.values, keysAndValues)...)
}

func (s lazySink) WithValues(keysAndValues ...any) logr.LogSink {
	return lazySink{s.LogSink, slices.Concat(s.values, keysAndValues)}
}

func (s lazySink) WithName(name string) logr.LogSink {
	return lazySink{s.LogSink.WithName(name), s.values}
}
