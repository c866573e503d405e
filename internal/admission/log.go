package admission

import (
	"slices"

	"github.com/go-logr/logr"
)

// about returns a logger whose lines say what they are about. Most reviews log
// nothing: the values are added to a line when there is one, which logr's own
// WithValues does beforehand.
func about(log logr.Logger, values ...any) logr.Logger {
	if log.GetSink() == nil { // discards
		return log
	}
	return log.WithSink(sink{log.GetSink(), values})
}

type sink struct {
	logr.LogSink
	values []any
}

func (s sink) Info(level int, msg string, keysAndValues ...any) {
	s.LogSink.Info(level, msg, slices.Concat(s.values, keysAndValues)...)
}

func (s sink) Error(err error, msg string, keysAndValues ...any) {
	s.LogSink.Error(err, msg, slices.Concat(s.values, keysAndValues)...)
}

func (s sink) WithValues(keysAndValues ...any) logr.LogSink {
	return sink{s.LogSink, slices.Concat(s.values, keysAndValues)}
}

func (s sink) WithName(name string) logr.LogSink {
	return sink{s.LogSink.WithName(name), s.values}
}
