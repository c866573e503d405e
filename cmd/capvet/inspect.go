package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/capvet/capvet/internal/elfcaps"
	"github.com/capvet/capvet/internal/inspect"
	"github.com/capvet/capvet/internal/report"
)

func newInspectCommand() *cobra.Command {
	format := newChoice("format", formatText, formatJSON)
	explain := false
	var libraries []string
	cmd := &cobra.Command{
		Use:   "inspect FILE...",
		Short: "Read ELF files on disk",
		Example: `  capvet inspect /usr/sbin/haproxy
  capvet inspect --output json ./bin/*
  capvet inspect --explain /usr/sbin/haproxy
  capvet inspect --libdir /usr/lib/aarch64-linux-gnu /usr/bin/bwrap`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			if explain && format.value != formatText {
				return exitError{exitUsage, errors.New("--explain needs text output: leave out --output")}
			}
			var reports []report.Report
			var evidence [][]elfcaps.Evidence
			failed := false
			for _, file := range files {
				r, why, err := inspectFile(file, explain)
				if err != nil {
					failed = true
					fmt.Fprintln(cmd.ErrOrStderr(), "capvet:", err)
				}
				for i := range r.Binaries {
					if len(libraries) > 0 {
						inspect.ResolveLibraries(&r.Binaries[i], findLibraries(libraries))
					}
				}
				reports, evidence = append(reports, r), append(evidence, why)
			}
			return finish(cmd.OutOrStdout(), format.value, reports, evidence, failed)
		},
	}
	cmd.Flags().Var(format, "output", "`format` of the result: text or json")
	cmd.Flags().BoolVar(&explain, "explain", false, "show the instructions that each verdict is based on")
	cmd.Flags().StringArrayVar(&libraries, "libdir", nil,
		"`folder` to look for libcap and libcap-ng in, when a file makes its calls through them; may be repeated")
	return cmd
}

// inspectFile reports on one file. On an error the report has a gap for it, so that
// the output covers every file of the command line.
func inspectFile(path string, explain bool) (report.Report, []elfcaps.Evidence, error) {
	r := report.New()
	binary, evidence, err := openAndInspect(path, explain)
	if err != nil {
		r.Complete = false
		r.Gaps = append(r.Gaps, report.Gap{Where: path, Reason: "unreadable", Detail: err.Error()})
		return r, nil, err
	}
	r.Binaries = append(r.Binaries, binary)
	return r, evidence, nil
}

func openAndInspect(path string, explain bool) (report.Binary, []elfcaps.Evidence, error) {
	info, err := os.Stat(path)
	if err != nil {
		return report.Binary{}, nil, err // all errors here contain the path
	}
	if !info.Mode().IsRegular() {
		// Opening a FIFO blocks, and a device has no size.
		return report.Binary{}, nil, fmt.Errorf("%s is not a regular file: name the executable itself", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return report.Binary{}, nil, err
	}
	defer file.Close()
	if explain {
		return inspect.Explain(file, info.Size(), path)
	}
	binary, err := inspect.File(file, info.Size(), path)
	return binary, nil, err
}
