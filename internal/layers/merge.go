package layers

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// stack is the layers of an image, the lowest first, with their summaries.
type stack struct {
	blobs     []Blob
	summaries []*Summary // nil for a layer that is not read yet
}

// tree returns the merged file system. imagefs.Tree applies the whiteouts.
func (s stack) tree(steps *imagefs.Steps) imagefs.Tree {
	layers := make([]*imagefs.Layer, len(s.summaries))
	for i, summary := range s.summaries {
		layers[i] = summary.layer
	}
	return imagefs.NewTree(layers, steps)
}

// result returns the analysis of a file; the zero value if it was not analysed.
func (s stack) result(f imagefs.File) fileResult { return s.summaries[f.Layer].files[f.Source] }

// candidate is a file of the merged layers that may belong in the report.
type candidate struct {
	imagefs.File
	// named means that a candidate's name leads to the file, started that the
	// image runs it. Otherwise the screening selected it.
	named, started bool
}

// candidates returns the visible files under candidates' names, at the started
// paths, and selected by screening, each once, sorted by path. omitted counts
// the screened files beyond report.MaxBinaries.
func (s stack) candidates(ctx context.Context, tree imagefs.Tree, isCandidate func(string) bool, started []string) (files []candidate,
	omitted int, err error) {
	byPath := map[string]candidate{}
	named, links := tree.Named(isCandidate)
	for _, group := range []struct {
		names []string
		found candidate
	}{
		{named, candidate{named: true}},
		{started, candidate{started: true}},
		{links, candidate{named: true}}, // last: hostile links may use up the budget of steps
	} {
		for _, name := range group.names {
			if err := ctx.Err(); err != nil {
				return nil, 0, err
			}
			if f, ok := tree.Lookup(name); ok && !byPath[f.Path].named {
				group.found.File = f
				byPath[f.Path] = group.found
			}
		}
	}
	if len(byPath) > report.MaxBinaries {
		return nil, 0, fmt.Errorf("%w: the image has %d executables of interest, the limit is %d", imagefs.ErrTooLarge, len(byPath),
			report.MaxBinaries)
	}
	screened, err := s.screened(ctx, tree, byPath)
	if err != nil {
		return nil, 0, err
	}
	fit := min(len(screened), report.MaxBinaries-len(byPath))
	files = append(files, screened[:fit]...)
	for _, f := range byPath {
		files = append(files, f)
	}
	sortByPath(files)
	return files, len(screened) - fit, nil
}

func sortByPath(files []candidate) {
	slices.SortFunc(files, func(a, b candidate) int { return strings.Compare(a.Path, b.Path) })
}

// missing returns, by layer, the paths of the files that were not analysed: only
// a link from another layer selects them.
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

// addTo adds the results for files, all of them analysed, and a gap for omitted
// ones. A started file is left out unless it is an ELF file that is a known
// product, makes a legacy call, or could not be read, such as a packed one.
func (s stack) addTo(r *report.Report, tree imagefs.Tree, files []candidate, omitted int, inspector Inspector) {
	addGap := func(where, reason, detail string, other bool) {
		r.Complete = false
		r.Gaps = append(r.Gaps, report.Gap{Where: where, Reason: reason, Detail: detail, Other: other})
	}
	for i, summary := range s.summaries {
		digest := s.blobs[i].Digest.String()
		if summary.skipped != "" {
			addGap(digest, report.GapTooLarge, summary.skipped, true)
		}
		if summary.throughTOC {
			r.ThroughTable = append(r.ThroughTable, digest)
		}
	}
	if omitted > 0 {
		addGap("/", report.GapTooLarge, fmt.Sprintf("%d more executables make capability calls than a report has room for", omitted), true)
	}
	for _, f := range files {
		result := s.result(f.File)
		if !f.named && !result.elf {
			continue
		}
		if result.err != nil {
			reason := "not-analysed"
			if errors.Is(result.err, imagefs.ErrTooLarge) {
				reason = report.GapTooLarge
			}
			addGap(f.Path, reason, result.err.Error(), !f.named && !f.started)
			continue
		}
		binary := result.binary
		s.resolveLibraries(inspector, tree, &binary)
		unread := binary.Capset.ABI == report.ABIUnknown && binary.Capset.Basis == report.BasisNone
		if !f.named && binary.Product == nil && (!f.started || !binary.Capset.ABI.Legacy() && !unread) {
			if !result.screened {
				continue
			}
			binary.Other = true
		}
		binary.Path, binary.Layer = f.Path, s.blobs[f.Layer].Digest.String()
		r.Binaries = append(r.Binaries, binary)
	}
}

// settings returns the settings of the configuration files at the given paths.
func (s stack) settings(tree imagefs.Tree, paths []string) []report.Settings {
	var all []report.Settings
	for _, name := range paths {
		f, ok := tree.Lookup(name)
		if !ok {
			continue
		}
		if parsed := s.result(f).settings; parsed != nil {
			settings := *parsed
			settings.Path = name
			if f.Path != name {
				settings.File = f.Path
			}
			all = append(all, settings)
		}
	}
	return all
}

// proven returns a report on the legacy verdicts that no lower layer can change;
// false if there are none.
func (s stack) proven(ctx context.Context, isCandidate func(string) bool, steps *imagefs.Steps) (report.Report, bool) {
	var names []string // of the files that would prove a verdict under their own paths
	for _, summary := range s.summaries {
		for at, result := range summary.files {
			if result.legacy() && isCandidate(path.Base(at.Path)) {
				names = append(names, at.Path)
			}
		}
	}
	if len(names) == 0 || steps.Exceeded() {
		return report.Report{}, false
	}
	slices.Sort(names)
	tree := s.tree(steps)
	var files []candidate
	for _, name := range slices.Compact(names) {
		if ctx.Err() != nil {
			return report.Report{}, false
		}
		if f, ok := tree.Proven(name); ok && s.result(f).legacy() {
			files = append(files, candidate{File: f, named: true})
		}
	}
	if len(files) == 0 || len(files) > report.MaxBinaries {
		return report.Report{}, false
	}
	r := report.New()
	s.addTo(&r, tree, files, 0, Inspector{})
	r.Complete = false
	detail := "the layers below this one were not read yet: what was found is final, but there may be more"
	r.Gaps = append(r.Gaps, report.Gap{Where: s.blobs[0].Digest.String(), Reason: "early", Detail: detail})
	return r, true
}
