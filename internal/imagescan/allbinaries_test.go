package imagescan

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/capvet/capvet/internal/report"
)

// executable returns a file with the header of an ELF executable, in which finder
// finds the given ABI.
func executable(abi string) string {
	return elf.ELFMAG + strings.Repeat("\x00", 12) + "\x02\x00" + abi
}

// finder analyses the files that executable returns.
type finder struct{ screened atomic.Int64 }

func (f *finder) analyze(r io.ReaderAt, size int64, _ string) (report.Binary, error) {
	content, err := io.ReadAll(io.NewSectionReader(r, 0, size))
	if err != nil {
		return report.Binary{}, err
	}
	_, abi, ok := strings.Cut(string(content), "\x02\x00")
	if !ok {
		return report.Binary{}, errors.New("not an ELF file")
	}
	abi, name, _ := strings.Cut(abi, " ")
	b := report.Binary{BuildID: strings.TrimSpace(abi + " " + name), Capset: report.Capset{ABI: report.ABI(abi)}}
	switch abi {
	case "broken":
		return report.Binary{}, errors.New("cannot be read")
	case "panic":
		panic("hostile file")
	case "product":
		b.Product, b.Capset.ABI = &report.Product{Name: "haproxy"}, report.ABIV3
	}
	return b, nil
}

func (f *finder) screen(r io.ReaderAt, size int64, path string) (report.Binary, bool, error) {
	f.screened.Add(1)
	b, err := f.analyze(r, size, path)
	return b, err == nil && b.Capset.ABI != report.ABINone, err
}

func (f *finder) options(o *setup) { o.Inspector.Analyze, o.Inspector.Screen = f.analyze, f.screen }

// lines returns a report on all binaries in brief.
func lines(r report.Report) []string {
	var out []string
	for _, b := range r.Binaries {
		line := b.Path + "=" + b.BuildID
		if b.Other {
			line += " other"
		}
		out = append(out, line)
	}
	for _, g := range r.Gaps {
		line := "gap " + g.Reason + " " + g.Where
		if strings.HasPrefix(g.Where, "sha256:") {
			line = "gap " + g.Reason + " layer"
		}
		if g.Other {
			line += " other"
		}
		out = append(out, line)
	}
	return out
}

// TestAllBinaries: the report covers every visible executable once, and marks the
// ones that a scan for proxies would leave out.
func TestAllBinaries(t *testing.T) {
	s := newServer(t)
	for i, tt := range []struct {
		name   string
		config v1.Config
		layers [][]byte
		change func(*setup)
		want   []string
	}{
		{"among other files", v1.Config{}, [][]byte{archive("etc/x", "v1", "bin/none", executable("none"), "bin/a", executable("v1"), "bin/z",
			executable("unknown"))}, nil,
			[]string{"/bin/a=v1 other", "/bin/z=unknown other"}},
		{"beside what is named", v1.Config{}, [][]byte{archive("haproxy", executable("none"), "bin/a", executable("v3"))}, nil,
			[]string{"/bin/a=v3 other", "/haproxy=none"}},
		{"a product under another name", v1.Config{}, [][]byte{archive("opt/lb", executable("product"))}, nil, []string{"/opt/lb=product"}},
		{"what the image runs", v1.Config{Entrypoint: []string{"/run"}},
			[][]byte{archive("run", executable("v1"), "bin/run", executable("v1"))}, nil,
			[]string{"/bin/run=v1 other", "/run=v1"}},
		{"what the image runs is no proxy", v1.Config{Entrypoint: []string{"/run"}}, [][]byte{archive("run", executable("negotiated"))}, nil,
			[]string{"/run=negotiated other"}},
		{"a script is none", v1.Config{}, [][]byte{archive("run", "#!/bin/sh "+executable("v1"), "o",
			elf.ELFMAG+strings.Repeat("\x00", 12)+"\x01\x00v1", "short", elf.ELFMAG)}, nil, nil},
		{"removed above", v1.Config{}, [][]byte{archive("a", executable("v1")), archive(".wh.a", "")}, nil, nil},
		{"replaced above", v1.Config{}, [][]byte{archive("a", executable("v1")), archive("a", executable("none"))}, nil, nil},
		{"replaced in its layer", v1.Config{}, [][]byte{archive("a", executable("v1"), "a", "text", "b", executable("v1 1"), "b",
			executable("v1 2"))}, nil, []string{"/b=v1 2 other"}},
		{"behind links", v1.Config{}, [][]byte{archive("a", executable("v1"), "b", "->a", "c", "=>a")}, nil, []string{"/a=v1 other"}},
		{"removed but for a hard link", v1.Config{}, [][]byte{archive("a", executable("v1"), "b", "=>a", "c", "=>b"),
			archive(".wh.a", "", ".wh.b", "")}, nil, []string{"/c=v1 other"}},
		{"a name of interest leads to it", v1.Config{}, [][]byte{archive("opt/lb", executable("v1")), archive("haproxy", "->opt/lb")}, nil,
			[]string{"/opt/lb=v1"}},
		{"cannot be analysed", v1.Config{}, [][]byte{archive("a", executable("broken"), "b", executable("panic"), "c", executable("v1"))}, nil,
			[]string{"/c=v1 other", "gap not-analysed /a other", "gap not-analysed /b other"}},
		{"too large", v1.Config{}, [][]byte{archive("a", executable("v1"+strings.Repeat(" ", 1000)), "text", strings.Repeat("x", 1000), "b",
			executable("v1"))},
			func(o *setup) { o.Limits.FileBytes = 500 }, []string{"/b=v1 other", "gap too-large /a other"}},
		{"too many", v1.Config{}, [][]byte{archive("a", executable("v1"), "b", executable("v1"), "c", executable("v1")),
			archive("d", executable("v1"))},
			func(o *setup) { o.Limits.Executables = 2 }, []string{"/a=v1 other", "/b=v1 other", "/d=v1 other", "gap too-large layer other"}},
		{"too many bytes", v1.Config{}, [][]byte{archive("a", executable("v1"), "b", executable("v1"))},
			func(o *setup) { o.Limits.ExecutableBytes = 30 }, []string{"/a=v1 other", "gap too-large layer other"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &finder{}
			scanner := newScanner(t, s, nil, func(o *setup) {
				f.options(o)
				if tt.change != nil {
					tt.change(o)
				}
			})
			ref := s.push(t, fmt.Sprintf("others/%d:x", i), running(t, tt.config, tt.layers...))
			for range 2 { // the second is cached
				r, err := scanner.Scan(t.Context(), Request{Reference: ref, Platform: "linux/arm64", AllBinaries: true})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, lines(r)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if r.Complete != (len(r.Gaps) == 0) {
					t.Errorf("complete is %v with %d gaps", r.Complete, len(r.Gaps))
				}
			}
		})
	}
}

func running(t *testing.T, config v1.Config, layers ...[]byte) v1.Image {
	t.Helper()
	image := imageOf(t, "arm64", layers...)
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.Config = config
	if image, err = mutate.ConfigFile(image, file); err != nil {
		t.Fatal(err)
	}
	return image
}

// TestAllBinariesAreCachedApart: requests for proxies and for all binaries share no
// reports, in either order; and a layer that two images share contributes the same
// to both.
func TestAllBinariesAreCachedApart(t *testing.T) {
	s := newServer(t)
	base := archive("run", executable("negotiated"), "bin/a", executable("v1"))
	runs := s.push(t, "apart/runs:x", running(t, v1.Config{Entrypoint: []string{"/run"}}, base))
	idle := s.push(t, "apart/idle:x", running(t, v1.Config{}, base))
	all := []string{"/bin/a=v1 other", "/run=negotiated other"}
	for _, order := range [][]bool{{false, true, false}, {true, false, true}} {
		f := &finder{}
		scanner := newScanner(t, s, nil, f.options)
		for _, everything := range order {
			for _, ref := range []string{runs, idle} {
				r, err := scanner.Scan(t.Context(), Request{Reference: ref, Platform: "linux/arm64", AllBinaries: everything})
				if err != nil {
					t.Fatal(err)
				}
				var want []string
				if everything {
					want = all
				}
				if diff := cmp.Diff(want, lines(r)); diff != "" {
					t.Errorf("%s, everything %v (-want +got):\n%s", ref, everything, diff)
				}
			}
		}
		if got := f.screened.Load(); got != 2 {
			t.Errorf("%d files of the shared layer were screened, want each of the two once", got)
		}
	}
}

// TestTooManyBinaries: the report keeps the worst binaries, and a gap counts the rest.
func TestTooManyBinaries(t *testing.T) {
	var files []string
	for i := range maxBinaries {
		files = append(files, fmt.Sprintf("bin/%03d", i), executable("library"))
	}
	files = append(files, "z", executable("v1"))
	s := newServer(t)
	f := &finder{}
	r, err := newScanner(t, s, nil, f.options).Scan(t.Context(),
		Request{Reference: s.push(t, "many:x", imageOf(t, "arm64", archive(files...))), Platform: "linux/arm64", AllBinaries: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Binaries); n != maxBinaries || r.Binaries[n-1].Path != "/z" || r.Complete {
		t.Errorf("%d binaries, the last %s", n, r.Binaries[n-1].Path)
	}
	if diff := cmp.Diff([]report.Gap{{Where: "/", Reason: "too-large",
		Detail: "1 more executables make capability calls than a report has room for", Other: true}}, r.Gaps); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestAllBinariesOnDisk scans an image on disk for all binaries.
func TestAllBinariesOnDisk(t *testing.T) {
	dir := t.TempDir()
	if _, err := layout.Write(dir, mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: imageOf(t, "arm64", archive("bin/a", executable("v1")))})); err != nil {
		t.Fatal(err)
	}
	f := &finder{}
	r, err := newScanner(t, nil, nil, f.options).ScanAny(t.Context(),
		Request{Reference: "oci:" + dir, Platform: "linux/arm64", AllBinaries: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/bin/a=v1 other"}, lines(r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := newScanner(t, nil, nil, nil).ScanAny(t.Context(),
		Request{Reference: "oci:" + dir, Platform: "linux/arm64", AllBinaries: true}); !errors.Is(err, errNoScreen) {
		t.Errorf("without Inspector.Screen: %v", err)
	}
}
