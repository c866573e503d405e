package certs

import (
	"bytes"
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

// maxBundle bounds the certificates that are trusted at a time. Two or three
// are usual; more only when names change again and again.
const maxBundle = 8

// renewShare is the part of its lifetime that a certificate has left when its
// successor is made.
const renewShare = 3

// state is what the replicas share.
type state struct {
	// current is served.
	current *pair
	// next is trusted, and served once every API server knows that it is.
	next *pair
	// bundle is what the caBundle has to be: current, next, and what some replica
	// may still serve. Newest first.
	bundle []*x509.Certificate
}

// decodeState reads a Secret's data; what is missing or broken is left out.
func decodeState(data map[string][]byte) state {
	var s state
	if p, err := parsePair(data[keyCertificate], data[keyPrivateKey]); err == nil {
		s.current = p
	}
	if p, err := parsePair(data[keyNextCertificate], data[keyNextPrivateKey]); err == nil {
		s.next = p
	}
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

// advance returns the state that should follow stored, and why; an empty why
// means that stored may stay. held is what this replica last saw: it stands in
// when somebody empties the Secret. promote says that next has been trusted for
// long enough.
func advance(stored, held state, names []string, now time.Time, lifetime time.Duration, promote bool) (s state, why string, err error) {
	s = stored
	switch {
	case s.current.usable(names, now):
		switch {
		case s.next.usable(names, now) && promote:
			s.current, s.next, why = s.next, nil, "the next certificate is trusted: serving it"
		case s.next.usable(names, now):
		case s.current.certificate.NotAfter.Sub(now) < lifetime/renewShare:
			if s.next, err = newPair(names, now, lifetime); err != nil {
				return stored, "", err
			}
			why = "the certificate nears its end: the next one is to be trusted first"
		case s.next != nil:
			s.next, why = nil, "the next certificate is of no use"
		}
	case s.next.usable(names, now):
		s.current, s.next, why = s.next, nil, "the certificate is of no use any more: serving the next one at once"
	case held.current.usable(names, now):
		s.current, s.bundle, why = held.current, append(s.bundle, held.bundle...), "the Secret has lost the certificate: writing it back"
	default:
		if s.current, err = newPair(names, now, lifetime); err != nil {
			return stored, "", err
		}
		s.next, why = nil, "there is no certificate that is of use: made one"
	}
	bundle := trusted(s, now)
	if why == "" && !bytes.Equal(encodeBundle(bundle), encodeBundle(stored.bundle)) {
		why = "the trusted certificates have changed"
	}
	s.bundle = bundle
	return s, why, nil
}

// trusted returns the certificates that are to be trusted: newest first, each
// once, without those that have expired.
func trusted(s state, now time.Time) []*x509.Certificate {
	all := slices.Clone(s.bundle)
	var needed []*x509.Certificate
	for _, p := range []*pair{s.current, s.next} {
		if p != nil {
			needed = append(needed, p.certificate)
		}
	}
	all = append(all, needed...)
	slices.SortFunc(all, func(a, b *x509.Certificate) int {
		if c := b.NotAfter.Compare(a.NotAfter); c != 0 {
			return c
		}
		return bytes.Compare(a.Raw, b.Raw)
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
