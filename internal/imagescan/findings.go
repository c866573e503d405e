package imagescan

import (
	"path"

	"golang.org/x/sync/errgroup"

	"github.com/capvet/capvet/internal/imagefs"
)

// findings are what the files of one layer come to. They are analysed beside its
// reading.
type findings struct {
	scanner  *Scanner
	others   bool // all executables are looked at
	known    map[imagefs.Source]found
	fresh    map[imagefs.Source]*found
	analyses errgroup.Group
}

// findings starts with what was found before: a layer that is read again is the
// same byte for byte.
func (s *Scanner) findings(before *summary, others bool) *findings {
	f := &findings{scanner: s, others: others, known: before.known(), fresh: map[imagefs.Source]*found{}}
	f.analyses.SetLimit(analysesAtOnce)
	return f
}

// take has a file analysed that hold takes out of the layer.
func (f *findings) take(at imagefs.Source, a imagefs.Attributes, hold func() (*heldFile, error)) error {
	if _, ok := f.known[at]; ok {
		return nil
	}
	s, of := f.scanner, &found{}
	f.fresh[at] = of // in the place of an earlier file of the path
	if limit := s.options.Limits.FileBytes; a.Size > limit {
		*of = tooLarge(a.Size, limit)
		of.other = f.others
		return nil
	}
	held, err := hold()
	if err != nil {
		return err
	}
	f.analyses.Go(func() error {
		other := f.others && !s.options.Libraries.is(path.Base(at.Path)) && s.isOther(held, at.Path)
		*of = s.analyse(held, at.Path)
		of.other = other
		of.binary.FileCapabilities = a.Capabilities
		return nil
	})
	return nil
}

// wait waits for the analyses: one that fails is a finding.
func (f *findings) wait() { _ = f.analyses.Wait() }

// all waits, and returns what there is to say.
func (f *findings) all() map[imagefs.Source]found {
	f.wait()
	for at, of := range f.fresh {
		if of.kept() {
			f.known[at] = *of
		}
	}
	return f.known
}
