package product

import (
	"bytes"
	"slices"
)

// Overlap is the number of bytes at the end of one chunk that the next one has to repeat.
const Overlap = 256

// Matcher recognises products by the texts in a file's data, given in chunks.
type Matcher struct {
	// versions and also are by product: the version found, and whether Marker.Also was.
	versions []string
	also     []bool
	// features are signs (+ or -) before each product's feature.
	features []byte
}

// NewMatcher returns a matcher for all products.
func NewMatcher() *Matcher {
	return &Matcher{versions: make([]string, len(known)), also: make([]bool, len(known)), features: make([]byte, len(known))}
}

// Chunk searches the next piece of data.
func (m *Matcher) Chunk(b []byte) {
	for i := range known {
		p := &known[i]
		for _, k := range p.Markers {
			if m.versions[i] == "" {
				m.versions[i] = k.version(b)
			}
			if !m.also[i] {
				m.also[i] = k.Also == "" || bytes.Contains(b, []byte(k.Also))
			}
		}
		if p.Feature != "" && m.features[i] == 0 {
			m.features[i] = sign(b, p.Feature)
		}
	}
}

const (
	maxVersion = 64
	// versionBytes are the characters of a version.
	versionBytes = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-+~_"
)

// version returns the version beside the marker's first plausible place in b.
func (k Marker) version(b []byte) string {
	for i := 0; ; {
		j := bytes.Index(b[i:], []byte(k.Text))
		if j < 0 {
			return ""
		}
		start := i + j
		i = start + len(k.Text)
		v := b[i:min(i+maxVersion, len(b))]
		if k.After {
			v = b[max(start-maxVersion, 0):start]
			v = v[len(bytes.TrimRight(v, versionBytes)):]
		} else {
			v = v[:len(v)-len(bytes.TrimLeft(v, versionBytes))]
		}
		if _, ok := ParseVersion(string(v)); ok {
			return string(v)
		}
	}
}

// sign returns the sign before the feature in a list such as "+EPOLL -KQUEUE".
func sign(b []byte, feature string) byte {
	for i := 0; ; {
		j := bytes.Index(b[i:], []byte(feature))
		if j < 0 {
			return 0
		}
		at, end := i+j, i+j+len(feature)
		if at > 0 && (b[at-1] == '+' || b[at-1] == '-') && (end == len(b) || b[end] == ' ' || b[end] == 0) {
			return b[at-1]
		}
		i = end
	}
}

// Match is a recognised product.
type Match struct {
	Product Product
	Version string
	// Feature is the sign before the product's feature in its list of build features, 0 without
	// such a list.
	Feature byte
}

// Result returns the first recognised product.
func (m *Matcher) Result() (Match, bool) {
	for i, p := range known {
		if m.versions[i] != "" && m.also[i] {
			return Match{p, m.versions[i], m.features[i]}, true
		}
	}
	return Match{}, false
}

// Feature returns the sign before that product's feature.
func (m *Matcher) Feature(name string) byte {
	if i := slices.IndexFunc(known, func(p Product) bool { return p.Name == name }); i >= 0 {
		return m.features[i]
	}
	return 0
}
