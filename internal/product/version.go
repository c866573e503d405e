package product

import (
	"cmp"
	"strconv"
	"strings"
)

// Version is a program's own version: numbers, and the stage before their release. Suffixes of
// distributions are ignored.
type Version struct {
	numbers [4]int
	stage   stage
	// step is the number after -dev or -rc.
	step int
}

// stage orders a version and its prereleases; the zero value comes first.
type stage uint8

const (
	stageDev stage = iota
	stageRC
	stageRelease
)

const maxNumber = 1 << 20

// ParseVersion reads versions such as 2.9-dev5, 3.0.11-1+deb13u4, 3.1-dev2, 1.25.3.1 and
// 3.0.0-1.0.0-346.512. It reports false for a text that does not begin with two numbers.
func ParseVersion(s string) (Version, bool) {
	v := Version{stage: stageRelease}
	n := 0
	for more := true; more && n < len(v.numbers); n++ {
		value, rest, ok := number(s[min(n, 1):]) // without the dot
		if !ok {
			break
		}
		v.numbers[n], s, more = value, rest, strings.HasPrefix(rest, ".")
	}
	if n < 2 {
		return Version{}, false
	}
	for _, pre := range []struct {
		mark  string
		stage stage
	}{{"-dev", stageDev}, {"-rc", stageRC}, {"~dev", stageDev}, {"~rc", stageRC}} {
		if step, ok := strings.CutPrefix(s, pre.mark); ok {
			v.stage = pre.stage
			v.step, _, _ = number(step)
		}
	}
	return v, true
}

// number reads the digits at the beginning of s.
func number(s string) (value int, rest string, ok bool) {
	rest = strings.TrimLeft(s, "0123456789")
	value, _ = strconv.Atoi(s[:len(s)-len(rest)]) // of a number out of range: the largest
	return min(value, maxNumber), rest, len(rest) < len(s)
}

// Compare orders versions: 3.1-dev2 before 3.1-rc1 before 3.1.
func (v Version) Compare(o Version) int {
	for i := range v.numbers {
		if c := cmp.Compare(v.numbers[i], o.numbers[i]); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(v.stage, o.stage), cmp.Compare(v.step, o.step))
}
