// Command capvet reports the capability ABI of the executables in files and
// images.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set at link time.
var version = "dev"

// Exit codes. They are a contract with scripts.
const (
	exitClean  = 0 // no legacy use
	exitFailed = 1 // an input could not be read or is unknown
	exitUsage  = 2 // the command line is wrong
	exitLegacy = 3 // legacy use found
)

// exitError ends the program with a code. Its error, if any, is yet to be
// printed.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string { return fmt.Sprintf("exit code %d: %v", e.code, e.err) }

// asExit returns an error with exitFailed, unless it has an exit code.
func asExit(err error) error {
	if _, ok := errors.AsType[exitError](err); ok {
		return err
	}
	return exitError{exitFailed, err}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run carries out one command line and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand() //nolint:contextcheck // cobra hands the context to the commands
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitClean
	}
	var exit exitError
	if !errors.As(err, &exit) { // cobra's own errors concern the command line
		exit = exitError{code: exitUsage, err: fmt.Errorf("%w (see capvet --help)", err)}
	}
	if exit.err != nil {
		fmt.Fprintln(stderr, "capvet:", exit.err)
	}
	return exit.code
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "capvet",
		Short: "Report the capability ABI of executables",
		Long: `capvet reads ELF executables from files or container images and reports the
version of the kernel's capability ABI that they call. v1 is the legacy 32-bit
ABI: the kernel logs "uses 32-bit capabilities (legacy support in use)" for it.

Exit codes: 0 no legacy use, 3 legacy use found, 1 an input could not be read,
2 wrong usage.`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		// Without a subcommand, print the help.
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Args: cobra.NoArgs,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newInspectCommand(), newScanCommand(), newCheckCommand())
	return root
}
