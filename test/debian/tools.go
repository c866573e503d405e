package debian

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// lockTimeout is how long apt-get waits for another that installs, in seconds.
const lockTimeout = "300"

// Tools makes sure that executables are in PATH. packages maps each to its Debian
// package. Root installs missing ones with apt-get; for other users the error
// wraps ErrUnavailable and names them.
func Tools(ctx context.Context, packages map[string]string) error {
	missing, names := lacking(packages)
	if len(missing) == 0 {
		return nil
	}
	needs := fmt.Errorf("%w: %s not found; install the package %s", ErrUnavailable, strings.Join(missing, ", "), strings.Join(names, ", "))
	apt, err := newApt()
	if err != nil || os.Geteuid() != 0 {
		return needs
	}
	install := append([]string{"-y", "-o", "DPkg::Lock::Timeout=" + lockTimeout, "install", "--no-install-recommends"}, names...)
	// The machine's lists may be old, or not there at all.
	if _, err := apt.run(ctx, "/", install...); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := apt.run(ctx, "/", "-o", "DPkg::Lock::Timeout="+lockTimeout, "update"); err != nil {
			return fmt.Errorf("%w: %w", needs, err)
		}
		if _, err := apt.run(ctx, "/", install...); err != nil {
			return fmt.Errorf("%w: %w", needs, err)
		}
	}
	if missing, _ := lacking(packages); len(missing) > 0 {
		return fmt.Errorf("%w: %s not found, although the package %s was installed", ErrUnavailable, strings.Join(missing, ", "),
			strings.Join(names, ", "))
	}
	return nil
}

// lacking returns the executables that are not in PATH, and their packages,
// both sorted.
func lacking(packages map[string]string) (missing, names []string) {
	for tool, name := range packages {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
			names = append(names, name)
		}
	}
	slices.Sort(missing)
	slices.Sort(names)
	return missing, slices.Compact(names)
}
