//go:build prove

package prove

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/test/debian"
)

// bootTimeout bounds one boot, from start to power-off. A boot takes some seconds
// on an idle machine.
const bootTimeout = 4 * time.Minute

// TestKernel boots Debian's arm64 kernel on an emulated machine once for each
// program and compares whom it warned of with the verdict.
func TestKernel(t *testing.T) {
	need(t.Context(), t, map[string]string{"qemu-system-aarch64": "qemu-system-arm"})
	kernel := kernel(t)
	witness := filepath.Join(t.TempDir(), WitnessName)
	command := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", witness, "./witness")
	command.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}

	rows := []string{"BINARY\tVERDICT\tTHE KERNEL'S LINE\tAGREE"}
	t.Cleanup(func() { t.Log(table(rows)) })
	boots := func(p program) {
		t.Run(p.name, func(t *testing.T) {
			row := func(line, agree string) {
				rows = append(rows, fmt.Sprintf("%s\t%s by %s\t%s\t%s", p.name, p.verdict.Capset.ABI, p.verdict.Capset.Basis, line, agree))
			}
			said, err := boot(t, kernel, witness, p)
			if err != nil {
				row("-", "could not be run")
				t.Fatal(err)
			}
			t.Log(said.Kernel)
			want := WitnessName
			if p.verdict.Capset.ABI == report.ABIV1 {
				want = filepath.Base(GuestProgram)
			}
			if said.Offender != want {
				row(said.Line, "NO")
				t.Fatalf("the kernel warned of %s first, by the verdict %+v it should of %s: %s", said.Offender, p.verdict.Capset, want, said.Line)
			}
			row(said.Line, "yes")
		})
	}
	boots(fromDebian(t, "trixie", "arm64", "haproxy", GuestProgram))
	boots(fromDebian(t, "sid", "arm64", "haproxy", GuestProgram))
	built := build(t, true)
	name := "haproxy " + built.Version + " musl "
	boots(fromMusl(t, name+"dynamic arm64", built.Dynamic))
	boots(fromMusl(t, name+"static arm64", built.Static))
	boots(fromMusl(t, name+"static arm64, no USE_LINUX_CAP", build(t, false).Static))
}

// kernel is the path of Debian's current arm64 kernel.
func kernel(t *testing.T) string {
	t.Helper()
	const latest = "linux-image-arm64"
	depends, err := debian.Depends(t.Context(), fetch(t, "trixie", "arm64", latest)[latest].Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range depends {
		release, ok := strings.CutPrefix(name, "linux-image-")
		if !ok {
			continue
		}
		image, err := debian.Extract(t.Context(), fetch(t, "trixie", "arm64", name)[name].Path, "/boot/vmlinuz-"+release)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "vmlinuz")
		if err := os.WriteFile(path, image, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Fatalf("%s depends on no kernel: %v", latest, depends)
	return ""
}

// boot boots the kernel with the program's root, and the witness in it.
func boot(t *testing.T, kernel, witness string, p program) (Testimony, error) {
	t.Helper()
	initramfs, err := pack(t, witness, p)
	if err != nil {
		return Testimony{}, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	var console bytes.Buffer
	command := exec.CommandContext(ctx, "qemu-system-aarch64",
		"-machine", "virt", "-cpu", "cortex-a72", "-m", "1024", "-nodefaults", "-no-user-config", "-display", "none",
		"-no-reboot", "-serial", "stdio", "-kernel", kernel, "-initrd", initramfs,
		"-append", "console=ttyAMA0 panic=-1 rdinit=/"+WitnessName)
	command.Stdout, command.Stderr = &console, &console
	command.WaitDelay = stopTimeout
	runErr := command.Run()
	said, err := ReadTestimony(bytes.NewReader(console.Bytes()))
	if err := errors.Join(context.Cause(ctx), runErr, err); err != nil {
		return Testimony{}, fmt.Errorf("%w\n%s", err, console.String())
	}
	return said, nil
}

// pack makes the initramfs: the root without unused files, the witness, and
// HAProxy's configuration.
func pack(t *testing.T, witness string, p program) (string, error) {
	t.Helper()
	copyIn(t, witness, filepath.Join(p.root, WitnessName))
	for _, name := range []string{"dev", "proc", "tmp"} {
		if err := os.MkdirAll(filepath.Join(p.root, name), 0o755); err != nil {
			return "", err
		}
	}
	if err := os.Chmod(filepath.Join(p.root, filepath.Dir(GuestSocket)), 0o777); err != nil {
		return "", err
	}
	config := haproxy("", nobody, "").config(filepath.Dir(GuestSocket))
	if err := os.WriteFile(filepath.Join(p.root, GuestConfig), []byte(config), 0o644); err != nil {
		return "", err
	}
	path := filepath.Join(t.TempDir(), "initramfs")
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	keep := func(name string, entry fs.DirEntry) bool {
		return name != "usr/share" && entry.Name() != "gconv"
	}
	return path, errors.Join(WriteInitramfs(file, p.root, keep), file.Close())
}
