package admission

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/capvet/capvet/internal/report"
)

// Metrics is an Observer for Prometheus. No label holds a name from an image, a Pod or a user.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	findings *prometheus.CounterVec
	failures *prometheus.CounterVec
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	auto := promauto.With(r)
	m := &Metrics{
		requests: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "capvet_admission_requests_total",
			Help: "Admission requests answered, by outcome.",
		}, []string{"outcome", "dry_run"}),
		seconds: auto.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "capvet_admission_duration_seconds",
			Help:    "Time from an admission request's arrival to its answer, by outcome.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"outcome"}),
		findings: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "capvet_findings_total",
			Help: "Findings about binaries, by capability ABI, product and action.",
		}, []string{"abi", "product", "action", "dry_run"}),
		failures: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "capvet_image_failures_total",
			Help: "Images that could not be read for an admission request, by class of error.",
		}, []string{"class", "dry_run"}),
	}
	// A rate does not see the increase with which a counter first appears.
	for _, dryRun := range []string{"false", "true"} {
		for _, outcome := range []Outcome{OutcomeSkipped, OutcomeClean, OutcomeUnread, OutcomeAudited, OutcomeWarned, OutcomeRejected,
			OutcomeError} {
			m.requests.WithLabelValues(string(outcome), dryRun)
		}
		for _, class := range append(report.FailureClasses(), report.FailureInternal) {
			m.failures.WithLabelValues(string(class), dryRun)
		}
	}
	return m
}

// Answered implements Observer.
func (m *Metrics) Answered(a Answer) {
	dryRun := strconv.FormatBool(a.DryRun)
	m.requests.WithLabelValues(string(a.Outcome), dryRun).Inc()
	m.seconds.WithLabelValues(string(a.Outcome)).Observe(a.Duration.Seconds())
	for _, f := range a.Decision.Findings {
		switch {
		case f.Binary != nil:
			product := "other"
			if f.Binary.Product != nil {
				product = f.Binary.Product.Name
			}
			m.findings.WithLabelValues(string(f.Binary.Capset.ABI), product, string(f.Action), dryRun).Inc()
		case f.Image.Failure != nil:
			m.failures.WithLabelValues(string(f.Image.Failure.Class), dryRun).Inc()
		}
	}
}
