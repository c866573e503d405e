package product

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// Overlap is the number of bytes at the end of one chunk that the next one has to repeat: no list
// of build features is longer.
const Overlap = 4 << 10

// Matcher recognises products by the texts in a file's data, given in chunks.
type Matcher struct {
	// versions and also are by product: the version found, and whether Marker.Also was.
	versions []string
	also     []bool
	// features are signs (+ or -) before each product's feature. A plus in one list counts more
	// than a minus in another.
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
		if p.Feature != "" && m.features[i] != '+' {
			m.features[i] = cmp.Or(sign(b, p.Feature), m.features[i])
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

// minFeatures is the number of features in the shortest list: HAProxy's have more than 40.
const minFeatures = 16

// sign returns the sign before the feature in the lists of b, such as "+EPOLL -KQUEUE": '+' if any
// has it so, 0 without a list. A text that is not a whole list, sorted as HAProxy's Makefile
// does, does not count.
func sign(b []byte, feature string) (found byte) {
	for i := 0; ; {
		j := bytes.Index(b[i:], []byte(feature))
		if j < 0 {
			return found
		}
		at, end := i+j, i+j+len(feature)
		i = end
		if at == 0 || b[at-1] != '+' && b[at-1] != '-' || end < len(b) && b[end] != ' ' && b[end] != 0 && b[end] != '\n' {
			continue
		}
		first := at - 1 - len(lastPart(b[max(0, at-1-Overlap/2):at-1]))
		last := end + len(firstPart(b[end:min(len(b), end+Overlap/2)]))
		if isFeatureList(strings.Fields(string(b[first:last]))) {
			if found = b[at-1]; found == '+' {
				return found
			}
		}
	}
}

// featureBytes are the characters of a list of features.
const featureBytes = " +-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

func firstPart(b []byte) []byte { return b[:len(b)-len(bytes.TrimLeft(b, featureBytes))] }

func lastPart(b []byte) []byte { return b[len(bytes.TrimRight(b, featureBytes)):] }

func isFeatureList(words []string) bool {
	for i, w := range words {
		if len(w) < 2 || strings.IndexAny(w, "+-") != 0 || strings.ContainsAny(w[1:], "+-") || i > 0 && w[1:] <= words[i-1][1:] {
			return false
		}
	}
	return len(words) >= minFeatures
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
