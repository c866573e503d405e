package imagescan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// maxBinaries is the most executables that one report may have.
const maxBinaries = 256

// stack is an image's layers, the lowest first, and what is known of them.
type stack struct {
	blobs     []blob
	summaries []*summary // nil: not read yet
}

// from returns the layers from an index upwards, all of which have to be known.
func (s stack) from(lowest int) stack {
	return stack{s.blobs[lowest:], s.summaries[lowest:]}
}

func (s stack) tree() imagefs.Tree {
	layers := make([]*imagefs.Layer, len(s.summaries))
	for i, of := range s.summaries {
		layers[i] = of.layer
	}
	return imagefs.NewTree(layers)
}

// files returns the files that the tree shows under names of interest, each
// once, sorted by path.
func (s stack) files(ctx context.Context, tree imagefs.Tree, isCandidate func(string) bool) ([]imagefs.File, error) {
	byPath := map[string]imagefs.File{}
	for _, name := range tree.Named(isCandidate) {
		if err := ctx.Err(); err != nil { // hostile links make each look-up slow
			return nil, err
		}
		if f, ok := tree.Lookup(name); ok {
			byPath[f.Path] = f
		}
	}
	if len(byPath) > maxBinaries {
		return nil, fmt.Errorf("%w: the image has %d executables of interest, the limit is %d", imagefs.ErrTooLarge, len(byPath), maxBinaries)
	}
	files := make([]imagefs.File, 0, len(byPath))
	for _, f := range byPath {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b imagefs.File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// missing returns, by layer, those of the files that have not been analysed:
// only a link from another layer shows them to be of interest.
func (s stack) missing(files []imagefs.File) []map[string]bool {
	missing := make([]map[string]bool, len(s.summaries))
	for _, f := range files {
		if _, ok := s.summaries[f.Layer].files[f.Source]; !ok {
			if missing[f.Layer] == nil {
				missing[f.Layer] = map[string]bool{}
			}
			missing[f.Layer][f.Source] = true
		}
	}
	return missing
}

// addTo writes what was found of files, all of them analysed, into a report.
func (s stack) addTo(r *report.Report, files []imagefs.File) {
	for _, f := range files {
		analysed := s.summaries[f.Layer].files[f.Source]
		if analysed.err != nil {
			r.Complete = false
			r.Gaps = append(r.Gaps, report.Gap{Where: f.Path, Reason: "not-analysed", Detail: analysed.err.Error()})
			continue
		}
		binary := analysed.binary
		binary.Path, binary.Layer = f.Path, s.blobs[f.Layer].digest.String()
		r.Binaries = append(r.Binaries, binary)
	}
}

// proven returns a report of the legacy verdicts that layers further down
// cannot change, and whether there is one.
func (s stack) proven(ctx context.Context, isCandidate func(string) bool) (report.Report, bool) {
	tree := s.tree()
	var files []imagefs.File
	seen := map[string]bool{}
	for _, name := range tree.Named(isCandidate) {
		if ctx.Err() != nil {
			return report.Report{}, false
		}
		f, ok := tree.Proven(name)
		if !ok || seen[f.Path] {
			continue
		}
		seen[f.Path] = true
		if analysed, ok := s.summaries[f.Layer].files[f.Source]; ok && analysed.err == nil && analysed.binary.Capset.ABI.Legacy() {
			files = append(files, f)
		}
	}
	if len(files) == 0 || len(files) > maxBinaries {
		return report.Report{}, false
	}
	slices.SortFunc(files, func(a, b imagefs.File) int { return strings.Compare(a.Path, b.Path) })
	r := report.New()
	s.addTo(&r, files)
	r.Complete = false
	r.Gaps = append(r.Gaps, report.Gap{Where: s.blobs[0].digest.String(), Reason: "early", Detail: "the layers below this one were not read yet: what was found is final, but there may be more"})
	return r, true
}
