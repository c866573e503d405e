package certs

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// RegisterMetrics registers what there is to know of the served certificate.
// ctx is the process's.
func RegisterMetrics(ctx context.Context, r prometheus.Registerer, t *Trust) error {
	for _, c := range []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "capvet_certificate_expiry_timestamp_seconds",
			Help: "When the served certificate expires, in seconds since 1970; 0: none is served.",
		}, func() float64 {
			served, err := t.Served.GetCertificate(nil)
			if err != nil || served == nil || served.Leaf == nil {
				return 0
			}
			return float64(served.Leaf.NotAfter.Unix())
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "capvet_certificate_trusted",
			Help: "1 when the served certificate verifies against every caBundle of the webhook configuration, else 0.",
		}, func() float64 {
			if t.Check(ctx) != nil {
				return 0
			}
			return 1
		}),
	} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
