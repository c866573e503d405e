package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/capvet/capvet/internal/imagescan"
	"github.com/capvet/capvet/internal/report"
)

func newScanCommand() *cobra.Command {
	format := newChoice("format", formatText, formatJSON)
	var platform string
	var registries registryOptions
	var first bool
	binaries := newChoice("which", binariesProxies, binariesAll)
	cmd := &cobra.Command{
		Use:   "scan REF...",
		Short: "Read container images",
		Long: `Scan reads images: of a registry (with the credentials of docker login), of an
OCI image layout on disk (oci:DIR, or oci:DIR:NAME), or of a tarball (tarball:FILE).`,
		Example: `  capvet scan haproxy:3.0
  capvet scan --platform linux/amd64 --output json registry.example.com/proxy@sha256:...
  capvet scan oci:./layout tarball:./image.tar`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, references []string) error {
			scanner, err := registries.scanner(true)
			if err != nil {
				return asExit(err)
			}
			var reports []report.Report
			failed := false
			for _, reference := range references {
				r, err := registries.read(cmd.Context(), imagescan.Request{Reference: reference, Platform: platform,
					Credentials: keychain{}, Early: first, AllBinaries: binaries.value == binariesAll}, scanner.ScanAny)
				if err != nil {
					failed = true
					fmt.Fprintln(cmd.ErrOrStderr(), "capvet:", err)
					r = unread(reference, platform, err)
				}
				reports = append(reports, r)
			}
			return finish(cmd.OutOrStdout(), format.value, reports, nil, failed)
		},
	}
	cmd.Flags().Var(format, "output", "`format` of the result: text or json")
	cmd.Flags().StringVar(&platform, "platform", "linux/arm64", "`os/arch[/variant]` whose image is read")
	registries.register(cmd.Flags())
	cmd.Flags().Var(binaries, "binaries",
		"executables to analyse: proxies (known products, files with their names, the programs that the image runs) or all")
	cmd.Flags().BoolVar(&first, "first", false, "stop at the first proven legacy executable, without reading the layers below it")
	return cmd
}

// unread reports on an image that could not be read, so that the output covers
// every reference of the command line.
func unread(reference, platform string, err error) report.Report {
	r := report.New()
	r.Reference, r.Platform, r.Complete = reference, platform, false
	class := report.FailureInternal
	var classed *imagescan.Error
	if errors.As(err, &classed) {
		class, err = classed.Class, classed.Err
	}
	r.Gaps = append(r.Gaps, report.Gap{Where: reference, Reason: string(class), Detail: err.Error()})
	return r
}
