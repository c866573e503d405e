package certs

import (
	"crypto/tls"
	"testing"
	"time"
)

// TestClockSkew: replicas and API servers whose clocks differ by up to a day
// agree on one certificate; a day more, and the API server does not accept it.
func TestClockSkew(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Minute, 20 * time.Minute, clockSkew - time.Second, clockSkew + time.Second} {
		cluster := newCluster(t, emptySecret(), webhookConfiguration())
		ahead, behind := newReplica(cluster, &clock{start.Add(skew)}), newReplica(cluster, &clock{start})
		for _, r := range []*Rotator{ahead, behind, ahead} {
			if err := r.reconcile(t.Context()); err != nil {
				t.Fatalf("%s: %v", skew, err)
			}
		}
		var serials []string
		for _, r := range []*Rotator{ahead, behind} {
			served, err := r.GetCertificate(&tls.ClientHelloInfo{})
			if err != nil {
				t.Fatalf("%s: %v", skew, err)
			}
			serials = append(serials, served.Leaf.SerialNumber.String())
			err = verify(current(t, cluster), served.Leaf, nil, start)
			if accepted, want := err == nil, skew <= clockSkew; accepted != want {
				t.Errorf("%s: accepted %v, want %v: %v", skew, accepted, want, err)
			}
		}
		if serials[0] != serials[1] {
			t.Errorf("%s: the replicas quarrel over the certificate: %v", skew, serials)
		}
	}
}
