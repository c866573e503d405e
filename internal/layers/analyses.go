package layers

import (
	"fmt"
	"maps"
	"path"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/capvet/capvet/internal/imagefs"
)

// concurrentAnalyses is the number of files of one layer analysed concurrently
// with its reading.
const concurrentAnalyses = 2

// analyses are the analyses of one layer's files, which run concurrently with
// its reading.
type analyses struct {
	reader      *Reader
	allBinaries bool
	known       map[imagefs.Source]fileResult
	fresh       map[imagefs.Source]*fileResult
	group       errgroup.Group
	bytes       atomic.Int64 // of all results
	full        atomic.Bool  // a screened result had no room
}

// newAnalyses starts with the results of an earlier reading, if any: the layer is
// the same, byte for byte.
func (r *Reader) newAnalyses(before *Summary, allBinaries bool) *analyses {
	a := &analyses{reader: r, allBinaries: allBinaries, known: map[imagefs.Source]fileResult{}, fresh: map[imagefs.Source]*fileResult{}}
	if before != nil {
		maps.Copy(a.known, before.files)
		a.bytes.Store(before.bytes)
	}
	a.group.SetLimit(concurrentAnalyses)
	return a
}

// add starts the analysis of a selected file, copied by spool, unless an earlier
// reading analysed it. A later file of the same source replaces it.
func (a *analyses) add(at imagefs.Source, attributes imagefs.Attributes, spool func() (*spooledFile, error)) error {
	if _, ok := a.known[at]; ok {
		return nil
	}
	r, result := a.reader, &fileResult{}
	a.fresh[at] = result
	if limit := r.Limits.FileBytes; attributes.Size > limit {
		*result = tooLarge(attributes.Size, limit)
		result.screened = a.allBinaries
		return nil
	}
	f, err := spool()
	if err != nil {
		return err
	}
	a.group.Go(func() error {
		screened := false
		if a.allBinaries && !r.Inspector.isLibrary(path.Base(at.Path)) { // another image may show the file under another name
			_, passes, err := r.screen(f, at.Path)
			screened = passes || err != nil
		}
		*result = r.analyze(f, at.Path)
		result.screened = screened
		result.binary.FileCapabilities = attributes.Capabilities
		if limit := r.Limits.ResultBytes; !a.fits(result) {
			*result = fileResult{elf: true, screened: screened,
				err: fmt.Errorf("%w: the results of its layer take more than %d bytes of memory", imagefs.ErrTooLarge, limit)}
		}
		return nil
	})
	return nil
}

// fits reports whether there is room for another result.
func (a *analyses) fits(result *fileResult) bool {
	n := result.bytes()
	fits := a.bytes.Add(n) <= a.reader.Limits.ResultBytes
	if !fits {
		a.bytes.Add(-n)
	}
	return fits
}

// wait waits for the analyses. A failed one is a result too.
func (a *analyses) wait() { _ = a.group.Wait() }

// results waits for the analyses and returns their results with the known ones.
func (a *analyses) results() map[imagefs.Source]fileResult {
	a.wait()
	for at, result := range a.fresh {
		if !result.screened || result.elf {
			a.known[at] = *result
		}
	}
	return a.known
}
