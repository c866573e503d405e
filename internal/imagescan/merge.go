package imagescan

import (
	"context"
	"errors"
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

// candidate is a file of the tree that is to be reported on.
type candidate struct {
	imagefs.File
	// named says that a name of interest leads to it, started that it is what
	// the image runs, and of interest if it turns out to be. Otherwise it is one
	// of the others.
	named, started bool
}

// candidates returns the files that the tree shows under names of interest or
// the paths of what the image runs, and the others, each once, sorted by path,
// and how many others more a report has no room for.
func (s stack) candidates(ctx context.Context, isCandidate func(string) bool, started []string) (files []candidate, left int, err error) {
	tree := s.tree()
	byPath := map[string]candidate{}
	for _, name := range tree.Named(isCandidate) {
		if err := ctx.Err(); err != nil { // hostile links make each look-up slow
			return nil, 0, err
		}
		if f, ok := tree.Lookup(name); ok {
			byPath[f.Path] = candidate{File: f, named: true}
		}
	}
	for _, name := range started {
		if f, ok := tree.Lookup(name); ok && !byPath[f.Path].named {
			byPath[f.Path] = candidate{File: f, started: true}
		}
	}
	if len(byPath) > maxBinaries {
		return nil, 0, fmt.Errorf("%w: the image has %d executables of interest, the limit is %d", imagefs.ErrTooLarge, len(byPath), maxBinaries)
	}
	others, err := s.others(ctx, tree, byPath)
	if err != nil {
		return nil, 0, err
	}
	fit := min(len(others), maxBinaries-len(byPath))
	files = append(files, others[:fit]...)
	for _, f := range byPath {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b candidate) int { return strings.Compare(a.Path, b.Path) })
	return files, len(others) - fit, nil
}

// missing returns, by layer, the paths there of those of the files that have not
// been analysed: only a link from another layer shows them to be of interest.
func (s stack) missing(files []candidate) []map[string]bool {
	missing := make([]map[string]bool, len(s.summaries))
	for _, f := range files {
		if _, ok := s.summaries[f.Layer].files[f.Source]; !ok {
			if missing[f.Layer] == nil {
				missing[f.Layer] = map[string]bool{}
			}
			missing[f.Layer][f.Source.Path] = true
		}
	}
	return missing
}

// addTo writes what was found of files, all of them analysed, into a report, and
// that left others more have no room in it.
// What the image runs is left out where it is no ELF file, or no known product
// that uses nothing legacy.
func (s stack) addTo(r *report.Report, files []candidate, left int, libraries Libraries) {
	tree := s.tree()
	leave := func(where, why string) {
		r.Complete = false
		r.Gaps = append(r.Gaps, report.Gap{Where: where, Reason: "too-large", Detail: why, Other: true})
	}
	for i, of := range s.summaries {
		if of.left != "" {
			leave(s.blobs[i].digest.String(), of.left)
		}
	}
	if left > 0 {
		leave("/", fmt.Sprintf("%d more executables make capability calls than a report has room for", left))
	}
	for i, of := range s.summaries {
		if of.throughTable {
			r.ThroughTable = append(r.ThroughTable, s.blobs[i].digest.String())
		}
	}
	for _, f := range files {
		analysed := s.summaries[f.Layer].files[f.Source]
		if !f.named && !analysed.elf {
			continue
		}
		if analysed.err != nil {
			r.Complete = false
			r.Gaps = append(r.Gaps, report.Gap{Where: f.Path, Reason: reasonOf(analysed.err), Detail: analysed.err.Error(), Other: !f.named && !f.started})
			continue
		}
		binary := analysed.binary
		s.resolve(libraries, tree, &binary)
		if !f.named && binary.Product == nil && (!f.started || !binary.Capset.ABI.Legacy()) {
			if !analysed.other {
				continue
			}
			binary.Other = true
		}
		binary.Path, binary.Layer = f.Path, s.blobs[f.Layer].digest.String()
		r.Binaries = append(r.Binaries, binary)
	}
}

// settings returns what the configuration files say that are at some of the
// paths.
func (s stack) settings(named []string) []report.Settings {
	tree := s.tree()
	var all []report.Settings
	for _, name := range named {
		f, ok := tree.Lookup(name)
		if !ok {
			continue
		}
		if read := s.summaries[f.Layer].files[f.Source].settings; read != nil {
			settings := *read
			settings.Path = name
			if f.Path != name {
				settings.File = f.Path
			}
			all = append(all, settings)
		}
	}
	return all
}

// reasonOf is the token for a file that could not be analysed.
func reasonOf(err error) string {
	if errors.Is(err, imagefs.ErrTooLarge) {
		return "too-large"
	}
	return "not-analysed"
}

// proven returns a report of the legacy verdicts that layers further down
// cannot change, and whether there is one.
func (s stack) proven(ctx context.Context, isCandidate func(string) bool) (report.Report, bool) {
	tree := s.tree()
	var files []candidate
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
			files = append(files, candidate{File: f, named: true})
		}
	}
	if len(files) == 0 || len(files) > maxBinaries {
		return report.Report{}, false
	}
	slices.SortFunc(files, func(a, b candidate) int { return strings.Compare(a.Path, b.Path) })
	r := report.New()
	s.addTo(&r, files, 0, Libraries{})
	r.Complete = false
	r.Gaps = append(r.Gaps, report.Gap{Where: s.blobs[0].digest.String(), Reason: "early", Detail: "the layers below this one were not read yet: what was found is final, but there may be more"})
	return r, true
}
