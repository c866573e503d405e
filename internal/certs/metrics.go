package certs

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// RegisterMetrics registers the metrics of the served certificate. ctx lasts as long
// as the process.
func RegisterMetrics(ctx context.Context, r prometheus.Registerer, t *Trust) {
	auto := promauto.With(r)
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "capvet_certificate_expiry_timestamp_seconds",
		Help: "Expiry of the served certificate in seconds since 1970; 0 without a certificate.",
	}, func() float64 {
		served, err := t.Served.GetCertificate(nil)
		if err != nil || served == nil || served.Leaf == nil {
			return 0
		}
		return float64(served.Leaf.NotAfter.Unix())
	})
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "capvet_certificate_trusted",
		Help: "1 if the served certificate verifies against every caBundle of the webhook configuration, else 0.",
	}, func() float64 {
		if t.Check(ctx) != nil {
			return 0
		}
		return 1
	})
}
