package imagefs

// DefaultSteps is the default budget of Steps. Looking up 10,000 files in 100
// layers takes less than half of it. It costs less than a second and at most 32
// MiB.
const DefaultSteps = 1 << 22

const (
	// stepBytes is the part of a new path, in bytes, that costs one step.
	stepBytes = 16
	// nodeSteps is the price of a path that a tree remembers, in steps: it bounds
	// the memory.
	nodeSteps = 16
	// maxHardLinks bounds a chain of hard links. One in a circle has no end.
	maxHardLinks = 1024
)

// Steps is a budget of steps for the look-ups in the trees of one image. A step is
// the search for one path in one part of a layer, or one element of a walked
// path. Hostile links make many of them from few bytes. It is not safe for
// concurrent use.
type Steps struct {
	left  int
	spent bool // a step was refused
	loop  bool // a chain of hard links is over its limit
}

// NewSteps returns a budget of n steps.
func NewSteps(n int) *Steps { return &Steps{left: n} }

// Exceeded reports whether a look-up did not end for want of steps, or met a
// chain of hard links over its limit. Files that a tree did not find may then
// exist.
func (s *Steps) Exceeded() bool { return s.spent || s.loop }

// take takes n steps, and reports whether there were as many.
func (s *Steps) take(n int) bool {
	if s.left < n {
		s.left, s.spent = 0, true
		return false
	}
	s.left -= n
	return true
}
