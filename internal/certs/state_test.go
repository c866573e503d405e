package certs

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const lifetime = 90 * 24 * time.Hour

var (
	start = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	names = []string{"capvet.capvet-system.svc"}
)

func mustPair(t *testing.T, at time.Time, names ...string) *pair {
	t.Helper()
	p, err := newPair(names, at, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// label names the certificates of a state for comparison.
func label(s state, known map[string]*pair) (current, next string, bundle []string) {
	of := func(c *x509.Certificate) string {
		for name, p := range known {
			if p.certificate.Equal(c) {
				return name
			}
		}
		return "fresh"
	}
	if s.current != nil {
		current = of(s.current.certificate)
	}
	if s.next != nil {
		next = of(s.next.certificate)
	}
	for _, c := range s.bundle {
		bundle = append(bundle, of(c))
	}
	return current, next, bundle
}

func TestAdvance(t *testing.T) {
	a := mustPair(t, start, names...)
	b := mustPair(t, start.Add(60*24*time.Hour), names...)
	other := mustPair(t, start, "other.capvet-system.svc")
	known := map[string]*pair{"a": a, "b": b, "other": other}
	bundle := func(pairs ...*pair) (list []*x509.Certificate) {
		for _, p := range pairs {
			list = append(list, p.certificate)
		}
		return list
	}
	day := 24 * time.Hour
	for _, tt := range []advanceCase{
		{
			name:    "empty",
			now:     start,
			current: "fresh", bundle: []string{"fresh"}, changed: true,
		},
		{
			name:   "fine",
			stored: state{current: a, bundle: bundle(a)}, now: start.Add(day),
			current: "a", bundle: []string{"a"},
		},
		{
			name:   "bundle lost",
			stored: state{current: a}, now: start.Add(day),
			current: "a", bundle: []string{"a"}, changed: true,
		},
		{
			name:   "near its end",
			stored: state{current: a, bundle: bundle(a)}, now: start.Add(61 * day),
			current: "a", next: "fresh", bundle: []string{"fresh", "a"}, changed: true,
		},
		{
			name:   "next waits for trust",
			stored: state{current: a, next: b, bundle: bundle(b, a)}, now: start.Add(62 * day),
			current: "a", next: "b", bundle: []string{"b", "a"},
		},
		{
			name:   "next is trusted",
			stored: state{current: a, next: b, bundle: bundle(b, a)}, now: start.Add(62 * day), promote: true,
			current: "b", bundle: []string{"b", "a"}, changed: true,
		},
		{
			name:   "expired before next was trusted",
			stored: state{current: a, next: b, bundle: bundle(b, a)}, now: start.Add(90 * day),
			current: "b", bundle: []string{"b"}, changed: true,
		},
		{
			name:   "the old one leaves the bundle",
			stored: state{current: b, bundle: bundle(b, a)}, now: start.Add(91 * day),
			current: "b", bundle: []string{"b"}, changed: true,
		},
		{
			name:   "expired without a next",
			stored: state{current: a, bundle: bundle(a)}, now: start.Add(100 * day),
			current: "fresh", bundle: []string{"fresh"}, changed: true,
		},
		{
			name:   "another name",
			stored: state{current: other, bundle: bundle(other)}, now: start.Add(day),
			current: "fresh", bundle: []string{"fresh", "other"}, changed: true,
		},
		{
			name:   "next for another name",
			stored: state{current: a, next: other, bundle: bundle(a, other)}, now: start.Add(day), promote: true,
			current: "a", bundle: []string{"a", "other"}, changed: true,
		},
		{
			name: "the Secret was emptied",
			last: state{current: a, bundle: bundle(a)}, now: start.Add(day),
			current: "a", bundle: []string{"a"}, changed: true,
		},
		{
			name: "emptied, and the last state is for another name",
			last: state{current: other}, now: start.Add(day),
			current: "fresh", bundle: []string{"fresh"}, changed: true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, known) })
	}
}

// advanceCase is a row of TestAdvance. The strings name pairs.
type advanceCase struct {
	name          string
	stored, last  state
	now           time.Time
	promote       bool
	current, next string
	bundle        []string
	changed       bool
}

func (tt advanceCase) run(t *testing.T, known map[string]*pair) {
	s, why, err := advance(tt.stored, tt.last, names, tt.now, lifetime, tt.promote)
	if err != nil {
		t.Fatal(err)
	}
	if (why != "") != tt.changed {
		t.Errorf("why: %q", why)
	}
	current, next, bundle := label(s, known)
	if current != tt.current || next != tt.next {
		t.Errorf("current %q, next %q; want %q, %q", current, next, tt.current, tt.next)
	}
	if tt.name == "another name" || tt.name == "next for another name" { // of the same age: in any order
		if len(bundle) != len(tt.bundle) {
			t.Errorf("bundle %q", bundle)
		}
	} else if diff := cmp.Diff(tt.bundle, bundle); diff != "" {
		t.Errorf("bundle: %s", diff)
	}
	// Encoding and decoding preserve the state.
	again, why, err := advance(decodeState(s.encode()), state{}, names, tt.now, lifetime, false)
	if err != nil || why != "" {
		t.Errorf("not stable: %q %v", why, err)
	}
	if got, want := again.encode(), s.encode(); !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}

func TestBundleIsBounded(t *testing.T) {
	s := state{current: mustPair(t, start, names...)}
	for i := range 3 * maxBundle {
		s.bundle = append(s.bundle, mustPair(t, start.Add(time.Duration(i)*time.Hour), names...).certificate)
	}
	got := trusted(s, start)
	if len(got) != maxBundle {
		t.Errorf("%d certificates", len(got))
	}
	for _, c := range got {
		if c.Equal(s.current.certificate) {
			return
		}
	}
	t.Error("the served certificate is not among them, though it is the oldest")
}

// TestBrokenSecret: with any data in the Secret, the state has a usable certificate.
func TestBrokenSecret(t *testing.T) {
	a, b := mustPair(t, start, names...), mustPair(t, start, names...)
	for name, data := range map[string]map[string][]byte{
		"junk":            {keyCertificate: []byte("junk"), keyPrivateKey: []byte("junk"), keyBundle: []byte("junk")},
		"another's key":   {keyCertificate: a.certPEM, keyPrivateKey: b.keyPEM},
		"no key":          {keyCertificate: a.certPEM},
		"a broken bundle": {keyBundle: append([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), a.keyPEM...)},
	} {
		s, _, err := advance(decodeState(data), state{}, names, start, lifetime, false)
		if err != nil || !s.current.usable(names, start) || len(s.bundle) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
