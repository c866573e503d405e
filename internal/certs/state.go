package certs

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"slices"
	"time"
)

// The keys of the Secret. The first three are those of any TLS Secret.
const (
	keyCertificate     = "tls.crt"
	keyPrivateKey      = "tls.key"
	keyBundle          = "ca.crt"
	keyNextCertificate = "next.crt"
	keyNextPrivateKey  = "next.key"
)

// maxBundle bounds the trusted certificates. Usually there are two or three; more if
// the server names change repeatedly.
const maxBundle = 8

// renewShare is the divisor of the lifetime at which a certificate is renewed: with a
// third left.
const renewShare = 3

// state is the state that the replicas share.
type state struct {
	// current is served.
	current *pair
	// next is in the caBundle, and is served once every API server has seen it there.
	next *pair
	// bundle holds the certificates for the caBundle, newest first: current, next, and
	// those that a replica may still serve.
	bundle []*x509.Certificate
}

// decodeState decodes the data of a Secret. It skips missing and broken entries.
func decodeState(data map[string][]byte) state {
	var s state
	s.current, _ = parsePair(data[keyCertificate], data[keyPrivateKey])
	s.next, _ = parsePair(data[keyNextCertificate], data[keyNextPrivateKey])
	s.bundle = parseBundle(data[keyBundle])
	return s
}

func (s state) encode() map[string][]byte {
	data := map[string][]byte{keyBundle: encodeBundle(s.bundle)}
	if s.current != nil {
		data[keyCertificate], data[keyPrivateKey] = s.current.certPEM, s.current.keyPEM
	}
	if s.next != nil {
		data[keyNextCertificate], data[keyNextPrivateKey] = s.next.certPEM, s.next.keyPEM
	}
	return data
}

// advance returns the successor of the stored state, and the reason for it; an empty
// reason means that stored is current. last is the last state of this replica, which
// replaces one that was deleted from the Secret. promote permits serving next.
func advance(stored, last state, names []string, now time.Time, lifetime time.Duration, promote bool) (s state, reason string, err error) {
	s = stored
	switch {
	case s.current.usable(names, now):
		switch {
		case s.next.usable(names, now) && promote:
			s.current, s.next, reason = s.next, nil, "the next certificate is trusted: serving it"
		case s.next.usable(names, now):
		case s.current.certificate.NotAfter.Sub(now) < lifetime/renewShare:
			if s.next, err = newPair(names, now, lifetime); err != nil {
				return stored, "", err
			}
			reason = "the certificate expires soon: made the next one, to be trusted first"
		case s.next != nil:
			s.next, reason = nil, "the next certificate is unusable"
		}
	case s.next.usable(names, now):
		s.current, s.next, reason = s.next, nil, "the certificate is unusable: serving the next one at once"
	case last.current.usable(names, now):
		s.current, s.bundle = last.current, append(s.bundle, last.bundle...)
		reason = "the Secret has lost the certificate: writing it back"
	default:
		if s.current, err = newPair(names, now, lifetime); err != nil {
			return stored, "", err
		}
		s.next, reason = nil, "there is no usable certificate: made one"
	}
	bundle := trusted(s, now)
	if reason == "" && !bytes.Equal(encodeBundle(bundle), encodeBundle(stored.bundle)) {
		reason = "the trusted certificates have changed"
	}
	s.bundle = bundle
	return s, reason, nil
}

// trusted returns the bundle of a state: newest first, without duplicates and without
// expired certificates.
func trusted(s state, now time.Time) []*x509.Certificate {
	var needed []*x509.Certificate
	for _, p := range []*pair{s.current, s.next} {
		if p != nil {
			needed = append(needed, p.certificate)
		}
	}
	all := slices.Concat(s.bundle, needed)
	slices.SortFunc(all, func(a, b *x509.Certificate) int {
		return cmp.Or(b.NotAfter.Compare(a.NotAfter), bytes.Compare(a.Raw, b.Raw))
	})
	all = slices.CompactFunc(all, (*x509.Certificate).Equal)
	all = slices.DeleteFunc(all, func(c *x509.Certificate) bool { return !now.Before(c.NotAfter) })
	for i := len(all) - 1; len(all) > maxBundle && i >= 0; i-- {
		if !slices.ContainsFunc(needed, all[i].Equal) {
			all = slices.Delete(all, i, i+1)
		}
	}
	return all
}
