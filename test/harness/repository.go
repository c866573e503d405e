package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Root returns the repository's root, from anywhere below it.
func Root() (string, error) {
	output, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/capvet/capvet").Output()
	if err != nil {
		return "", fmt.Errorf("finding the repository (is the working directory within it?): %w", err)
	}
	return strings.TrimSpace(string(output)), nil
}

// Tools returns the folder with the tools of tools/NAME, which it builds if
// necessary, with progress on standard error.
func Tools(ctx context.Context, root, name string) (string, error) {
	ensure := exec.CommandContext(ctx, filepath.Join(root, "tools", "ensure"), name)
	ensure.Stderr = os.Stderr
	output, err := ensure.Output()
	if err != nil {
		return "", fmt.Errorf("tools/ensure %s: %w", name, err)
	}
	return strings.TrimSpace(string(output)), nil
}

// BuildCommand builds cmd/NAME into the folder dir and returns the path of the
// executable.
func BuildCommand(ctx context.Context, root, name, dir string, flags ...string) (string, error) {
	binary := filepath.Join(dir, name)
	args := append([]string{"build", "-o", binary}, flags...)
	build := exec.CommandContext(ctx, "go", append(args, "./cmd/"+name)...)
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("building cmd/%s: %w", name, err), errors.New(string(output)))
	}
	return binary, nil
}
