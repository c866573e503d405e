package product

import "bytes"

// Overlap is the number of bytes at the end of one chunk that the next one has to repeat.
const Overlap = 256

// Matcher recognises products by the texts in a file's data, given in chunks.
type Matcher struct {
	products []Product
	// versions and also are by product: the version found, and whether Marker.Also was.
	versions []string
	also     []bool
	// features are signs (+ or -) before each product's feature.
	features []byte
}

// NewMatcher returns a matcher for all products.
func NewMatcher() *Matcher {
	all := All()
	return &Matcher{products: all, versions: make([]string, len(all)), also: make([]bool, len(all)), features: make([]byte, len(all))}
}

// Chunk searches the next piece of data.
func (m *Matcher) Chunk(b []byte) {
	for i := range m.products {
		p := &m.products[i]
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

// version returns the version beside the marker's first plausible place in b.
func (k Marker) version(b []byte) string {
	text := []byte(k.Text)
	for i := 0; ; {
		j := bytes.Index(b[i:], text)
		if j < 0 {
			return ""
		}
		i += j + len(text)
		var v []byte
		if k.After {
			end := i - len(text)
			start := end
			for start > 0 && end-start < maxVersion && versionByte(b[start-1]) {
				start--
			}
			v = b[start:end]
		} else {
			end := i
			for end < len(b) && end-i < maxVersion && versionByte(b[end]) {
				end++
			}
			v = b[i:end]
		}
		if _, ok := ParseVersion(string(v)); ok {
			return string(v)
		}
	}
}

const maxVersion = 64

// versionByte reports whether a version may contain b.
func versionByte(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' ||
		b == '.' || b == '-' || b == '+' || b == '~' || b == '_'
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
	for i, p := range m.products {
		if m.versions[i] != "" && m.also[i] {
			return Match{p, m.versions[i], m.features[i]}, true
		}
	}
	return Match{}, false
}

// Feature returns the sign before that product's feature.
func (m *Matcher) Feature(name string) byte {
	for i, p := range m.products {
		if p.Name == name {
			return m.features[i]
		}
	}
	return 0
}
