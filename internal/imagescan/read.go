package imagescan

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

const (
	// layersAtOnce is how many layers of one image are read at a time.
	layersAtOnce = 2
	// inMemory is the largest file that is kept in memory while it is analysed;
	// larger ones go through a temporary file.
	inMemory = 32 << 20
	// maxPasses is how often layers are read again for files that only a link
	// from another layer shows to be of interest.
	maxPasses = 3
	// maxBinaries is the most executables that one report may have.
	maxBinaries = 256
)

// blob is a layer as it is stored.
type blob struct {
	digest v1.Hash // of what open returns
	size   int64   // likewise; negative if not known
	open   func() (io.ReadCloser, error)
	gap    string // why it is not read; empty: it is
}

// read scans an image of a registry. The image lives no longer than ctx, to
// which its later requests are bound.
func (s *Scanner) read(ctx context.Context, image name.Digest, auth authn.Authenticator) (report.Report, error) {
	descriptor, err := remote.Get(image, s.remoteOptions(ctx, auth)...)
	if err != nil {
		return report.Report{}, err
	}
	remoteImage, err := descriptor.Image()
	if err != nil {
		return report.Report{}, err
	}
	blobs, err := blobsOf(remoteImage)
	if err != nil {
		return report.Report{}, err
	}
	return s.readBlobs(ctx, blobs)
}

// blobsOf lists the layers of an image, the lowest first.
func blobsOf(image v1.Image) ([]blob, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return nil, fmt.Errorf("%w manifest: %w", imagefs.ErrMalformed, err)
	}
	var blobs []blob
	for _, d := range manifest.Layers {
		b := blob{digest: d.Digest, size: d.Size}
		if isForeign(d.MediaType) {
			b.gap = "a foreign layer, which the registry does not hold"
		}
		b.open = func() (io.ReadCloser, error) {
			layer, err := image.LayerByDigest(d.Digest)
			if err != nil {
				return nil, err
			}
			return layer.Compressed()
		}
		blobs = append(blobs, b)
	}
	return blobs, nil
}

// found is an analysed file of a layer.
type found struct {
	binary report.Binary
	err    error // the file could not be analysed
}

// readBlobs reads layers until every executable of interest is analysed.
func (s *Scanner) readBlobs(ctx context.Context, blobs []blob) (report.Report, error) {
	limits := s.options.Limits
	if len(blobs) > limits.Layers {
		return report.Report{}, fmt.Errorf("%w: the image has %d layers, the limit is %d", imagefs.ErrTooLarge, len(blobs), limits.Layers)
	}
	r := report.New()
	for _, b := range blobs {
		if b.gap != "" {
			r.Complete = false
			r.Gaps = append(r.Gaps, report.Gap{Where: b.digest.String(), Reason: "not-readable", Detail: b.gap})
		}
		if b.size > limits.LayerBytes {
			return report.Report{}, fmt.Errorf("%w: layer %s has %d bytes, the limit is %d", imagefs.ErrTooLarge, b.digest, b.size, limits.LayerBytes)
		}
	}
	layers := make([]*imagefs.Layer, len(blobs))
	files := make([]map[string]found, len(blobs)) // by layer and path there
	wanted := make([]map[string]bool, len(blobs)) // beyond the candidates by name
	for i := range blobs {
		files[i], wanted[i] = map[string]found{}, map[string]bool{}
	}
	again := slices.Repeat([]bool{true}, len(blobs))
	var binaries []imagefs.File
	for pass := 0; slices.Contains(again, true); pass++ {
		if pass == maxPasses {
			return report.Report{}, fmt.Errorf("%w: its links lead on after %d readings", imagefs.ErrTooLarge, maxPasses)
		}
		if err := s.readLayers(ctx, blobs, again, wanted, layers, files); err != nil {
			return report.Report{}, err
		}
		again = make([]bool, len(blobs))
		var err error
		if binaries, err = s.candidates(ctx, layers); err != nil {
			return report.Report{}, err
		}
		for _, f := range binaries {
			if _, ok := files[f.Layer][f.Source]; !ok {
				wanted[f.Layer][f.Source], again[f.Layer] = true, true
			}
		}
	}
	for _, f := range binaries {
		analysed := files[f.Layer][f.Source]
		if analysed.err != nil {
			r.Complete = false
			r.Gaps = append(r.Gaps, report.Gap{Where: f.Path, Reason: "not-analysed", Detail: analysed.err.Error()})
			continue
		}
		binary := analysed.binary
		binary.Path, binary.Layer = f.Path, blobs[f.Layer].digest.String()
		r.Binaries = append(r.Binaries, binary)
	}
	return r, nil
}

// candidates returns the files that the tree shows under names of interest,
// each once, sorted by path.
func (s *Scanner) candidates(ctx context.Context, layers []*imagefs.Layer) ([]imagefs.File, error) {
	tree := imagefs.NewTree(layers)
	byPath := map[string]imagefs.File{}
	for _, name := range tree.Named(s.options.IsCandidate) {
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

// readLayers reads the layers that are marked, some at a time.
func (s *Scanner) readLayers(ctx context.Context, blobs []blob, marked []bool, wanted []map[string]bool, layers []*imagefs.Layer, files []map[string]found) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(layersAtOnce)
	for i := len(blobs) - 1; i >= 0; i-- {
		if !marked[i] {
			continue
		}
		group.Go(func() error {
			if blobs[i].gap != "" {
				empty, err := imagefs.ReadLayer(bytes.NewReader(nil), s.options.Limits.Layer, nil, nil)
				layers[i] = empty
				return err
			}
			layer, err := s.readLayer(ctx, blobs[i], wanted[i], files[i])
			if err != nil {
				return fmt.Errorf("layer %s: %w", blobs[i].digest, err)
			}
			layers[i] = layer
			return nil
		})
	}
	return group.Wait()
}

// readLayer streams one layer, verifies its digest, and analyses the files of
// interest in it.
func (s *Scanner) readLayer(ctx context.Context, b blob, wanted map[string]bool, files map[string]found) (*imagefs.Layer, error) {
	stored, err := b.open()
	if err != nil {
		return nil, err
	}
	// Closing is what wakes a read that hangs when the time is up.
	stop := context.AfterFunc(ctx, func() { _ = stored.Close() })
	defer func() {
		if stop() {
			_ = stored.Close()
		}
	}()
	verified := &verifier{r: stored, hash: sha256.New(), limit: s.options.Limits.LayerBytes}
	unpacked, err := imagefs.Unpack(verified, s.options.Limits.Layer)
	if err != nil {
		return nil, orContext(ctx, err)
	}
	defer unpacked.Close()
	// A layer that is read again, for files that only a link shows to be of
	// interest, is the same byte for byte: what was analysed stands.
	known := maps.Clone(files)
	isWanted := func(name string) bool { return s.options.IsCandidate(path.Base(name)) || wanted[name] }
	layer, err := imagefs.ReadLayer(unpacked, s.options.Limits.Layer, isWanted, func(name string, size int64, content io.Reader) error {
		if _, ok := known[name]; ok {
			return nil
		}
		f, err := s.analyse(ctx, name, size, content)
		files[name] = f
		return err
	})
	if err != nil {
		return nil, orContext(ctx, err)
	}
	if _, err := io.Copy(io.Discard, verified); err != nil { // what follows the packed stream counts too
		return nil, orContext(ctx, err)
	}
	if sum := hex.EncodeToString(verified.hash.Sum(nil)); sum != b.digest.Hex || b.digest.Algorithm != "sha256" {
		return nil, fmt.Errorf("%w: its content has the digest sha256:%s", imagefs.ErrMalformed, sum)
	}
	return layer, nil
}

// orContext returns why the context ended, if it did: a read that it broke off
// fails with something that says less.
func orContext(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// verifier hashes what is read and bounds it.
type verifier struct {
	r     io.Reader
	hash  hash.Hash
	n     int64
	limit int64
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.hash.Write(p[:n])
	if v.n += int64(n); v.n > v.limit {
		return n, fmt.Errorf("%w: it has more than %d bytes", imagefs.ErrTooLarge, v.limit)
	}
	return n, err
}

// analyse buffers one file and has it analysed. Its error says that the layer
// could not be read; that the file could not be analysed is part of found.
func (s *Scanner) analyse(ctx context.Context, name string, size int64, content io.Reader) (found, error) {
	budget := min(size, inMemory, s.options.Limits.Memory)
	if err := s.memory.Acquire(ctx, budget); err != nil {
		return found{}, err
	}
	defer s.memory.Release(budget)
	var at io.ReaderAt
	if size <= inMemory {
		buffer := bytes.NewBuffer(make([]byte, 0, size))
		if _, err := io.Copy(buffer, content); err != nil {
			return found{}, err
		}
		at = bytes.NewReader(buffer.Bytes())
	} else {
		file, err := os.CreateTemp("", "capvet-")
		if err != nil {
			return found{}, fmt.Errorf("a temporary file for %s: %w", name, err)
		}
		defer os.Remove(file.Name())
		defer file.Close()
		if _, err := io.Copy(file, content); err != nil {
			return found{}, err
		}
		at = file
	}
	binary, err := s.analyseSafely(at, size, name)
	return found{binary, err}, nil
}

// analyseSafely turns a panic over one file into an error about that file.
func (s *Scanner) analyseSafely(r io.ReaderAt, size int64, name string) (binary report.Binary, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the analysis failed inside capvet")
		}
	}()
	return s.options.Analyze(r, size, name)
}
