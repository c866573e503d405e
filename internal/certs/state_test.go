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
	for _, tt := range []struct {
		name          string
		stored, held  state
		now           time.Time
		promote       bool
		current, next string
		bundle        []string
		changed       bool
	}{
		{"empty", state{}, state{}, start, false, "fresh", "", []string{"fresh"}, true},
		{"fine", state{current: a, bundle: bundle(a)}, state{}, start.Add(day), false, "a", "", []string{"a"}, false},
		{"bundle lost", state{current: a}, state{}, start.Add(day), false, "a", "", []string{"a"}, true},
		{"near its end", state{current: a, bundle: bundle(a)}, state{}, start.Add(61 * day), false, "a", "fresh", []string{"fresh", "a"}, true},
		{"next waits for trust", state{current: a, next: b, bundle: bundle(b, a)}, state{}, start.Add(62 * day), false, "a", "b", []string{"b", "a"}, false},
		{"next is trusted", state{current: a, next: b, bundle: bundle(b, a)}, state{}, start.Add(62 * day), true, "b", "", []string{"b", "a"}, true},
		{"expired before next was trusted", state{current: a, next: b, bundle: bundle(b, a)}, state{}, start.Add(90 * day), false, "b", "", []string{"b"}, true},
		{"the old one leaves the bundle", state{current: b, bundle: bundle(b, a)}, state{}, start.Add(91 * day), false, "b", "", []string{"b"}, true},
		{"expired without a next", state{current: a, bundle: bundle(a)}, state{}, start.Add(100 * day), false, "fresh", "", []string{"fresh"}, true},
		{"another name", state{current: other, bundle: bundle(other)}, state{}, start.Add(day), false, "fresh", "", []string{"fresh", "other"}, true},
		{"next for another name", state{current: a, next: other, bundle: bundle(a, other)}, state{}, start.Add(day), true, "a", "", []string{"a", "other"}, true},
		{"the Secret was emptied", state{}, state{current: a, bundle: bundle(a)}, start.Add(day), false, "a", "", []string{"a"}, true},
		{"emptied, and held is for another name", state{}, state{current: other}, start.Add(day), false, "fresh", "", []string{"fresh"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, why, err := advance(tt.stored, tt.held, names, tt.now, lifetime, tt.promote)
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
			if tt.name == "another name" || tt.name == "next for another name" { // made at the same moment: any order
				if len(bundle) != len(tt.bundle) {
					t.Errorf("bundle %q", bundle)
				}
			} else if diff := cmp.Diff(tt.bundle, bundle); diff != "" {
				t.Errorf("bundle: %s", diff)
			}
			// What is written is what is read.
			again, why, err := advance(decodeState(s.encode()), state{}, names, tt.now, lifetime, false)
			if err != nil || why != "" {
				t.Errorf("not stable: %q %v", why, err)
			}
			if got, want := again.encode(), s.encode(); !cmp.Equal(got, want) {
				t.Error(cmp.Diff(want, got))
			}
		})
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

// TestBrokenSecret: whatever the Secret holds, the outcome serves and is sound.
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
