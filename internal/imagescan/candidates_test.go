package imagescan

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/capvet/capvet/internal/report"
)

// TestFileOverItsLimit: a too large file is a gap only if it is visible under a
// candidate's name.
func TestFileOverItsLimit(t *testing.T) {
	s := newServer(t)
	big := strings.Repeat("x", 2000)
	for i, tt := range []struct {
		name   string
		layers [][]byte
		want   []string
	}{
		{"shows", [][]byte{gzipped(archive("haproxy", big, "sbin/haproxy", "a"))}, []string{"/sbin/haproxy=a", "gap too-large"}},
		{"replaced above", [][]byte{gzipped(archive("haproxy", big)), gzipped(archive("haproxy", "a"))}, []string{"/haproxy=a"}},
		{"replaced in its layer", [][]byte{gzipped(archive("haproxy", big, "haproxy", "a"))}, []string{"/haproxy=a"}},
		{"removed above", [][]byte{gzipped(archive("haproxy", big)), gzipped(archive(".wh.haproxy", ""))}, nil},
		{"of no interest", [][]byte{gzipped(archive("data", big))}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ref := s.push(t, fmt.Sprintf("big/%d:x", i), imageOf(t, "arm64", tt.layers...))
			r, err := scan(t, newScanner(t, s, &fake{}, func(o *setup) { o.Limits.FileBytes = 1000 }), ref)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, binaries(r)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if complete := len(r.Gaps) == 0; r.Complete != complete {
				t.Errorf("complete: %v", r.Complete)
			}
		})
	}
}

// TestStarted: the programs that the image runs are analysed whatever their names,
// and reported if they are a known product, make a legacy call or are not read.
func TestStarted(t *testing.T) {
	s := newServer(t)
	executable := func(content string) string { return elf.ELFMAG + content }
	files := gzipped(archive("usr/bin/lb", executable("legacy"), "usr/bin/tini", executable("fine"), "usr/bin/run.sh", "#!/bin/sh", "opt/lb",
		executable("product"), "opt/bad", executable("broken"), "opt/packed", executable("packed"), "opt/unknown", executable("unknown")))
	merged := gzipped(archive("bin", "->usr/bin", "srv/", ""))
	analyze := func(r io.ReaderAt, size int64, _ string) (report.Binary, error) {
		content, err := io.ReadAll(io.NewSectionReader(r, 0, size))
		b := report.Binary{BuildID: strings.TrimPrefix(string(content), elf.ELFMAG), Capset: report.Capset{ABI: report.ABINone}}
		switch b.BuildID {
		case "legacy":
			b.Capset.ABI = report.ABIV1
		case "packed":
			b.Capset.ABI, b.Capset.Basis = report.ABIUnknown, report.BasisNone
		case "unknown":
			b.Capset.ABI, b.Capset.Basis = report.ABIUnknown, report.BasisCode
		case "product":
			b.Product = &report.Product{Name: "haproxy"}
		case "fine":
		default:
			return report.Binary{}, errors.New("cannot be read")
		}
		return b, err
	}
	for i, tt := range []struct {
		name   string
		config v1.Config
		want   []string
	}{
		{"nothing", v1.Config{}, nil},
		{"by its path", v1.Config{Entrypoint: []string{"/usr/bin/lb"}}, []string{"/usr/bin/lb=legacy"}},
		{"by PATH", v1.Config{Cmd: []string{"lb"}}, []string{"/usr/bin/lb=legacy"}},
		{"by a PATH of its own", v1.Config{Cmd: []string{"lb"}, Env: []string{"PATH=/nowhere:/opt"}}, []string{"/opt/lb=product"}},
		{"behind a link", v1.Config{Cmd: []string{"/bin/lb"}}, []string{"/usr/bin/lb=legacy"}},
		{"behind a wrapper", v1.Config{Entrypoint: []string{"tini", "-g", "--", "lb"}}, []string{"/usr/bin/lb=legacy"}},
		{"behind a script", v1.Config{Entrypoint: []string{"run.sh"}, Cmd: []string{"/opt/lb", "-f", "x"}}, []string{"/opt/lb=product"}},
		{"relative", v1.Config{Cmd: []string{"../opt/lb"}, WorkingDir: "/srv"}, []string{"/opt/lb=product"}},
		{"of no interest", v1.Config{Cmd: []string{"tini"}}, nil},
		{"cannot be analysed", v1.Config{Cmd: []string{"/opt/bad"}}, []string{"gap not-analysed"}},
		{"packed", v1.Config{Cmd: []string{"/opt/packed"}}, []string{"/opt/packed=packed"}},
		{"unknown by its code", v1.Config{Cmd: []string{"/opt/unknown"}}, nil},
		{"is not there", v1.Config{Cmd: []string{"/opt/other"}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			image := imageOf(t, "arm64", files, merged)
			config, err := image.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			config = config.DeepCopy()
			config.Config = tt.config
			if image, err = mutate.ConfigFile(image, config); err != nil {
				t.Fatal(err)
			}
			ref := s.push(t, fmt.Sprintf("started/%d:x", i), image)
			r, err := scan(t, newScanner(t, s, nil, func(o *setup) { o.Inspector.Analyze = analyze }), ref)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, binaries(r)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestFileCapabilities: the report contains a file's capabilities.
func TestFileCapabilities(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	attribute := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	err := errors.Join(w.WriteHeader(&tar.Header{
		Name: "haproxy", Typeflag: tar.TypeReg, Mode: 0o755, Format: tar.FormatPAX,
		PAXRecords: map[string]string{"SCHILY.xattr.security.capability": attribute},
	}), w.Close())
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	r, err := scan(t, newScanner(t, s, &fake{}, nil), s.push(t, "capabilities:x", imageOf(t, "arm64", b.Bytes())))
	if err != nil || len(r.Binaries) != 1 {
		t.Fatalf("%v, %v", r, err)
	}
	if got := r.Binaries[0].FileCapabilities; got != "cap_net_bind_service=ep" {
		t.Errorf("got %q", got)
	}
}
