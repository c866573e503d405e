package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// probeTimeout bounds a probe.
	probeTimeout = 10 * time.Second
	// maxProbeBytes bounds the metrics that a probe reads.
	maxProbeBytes = 8 << 20
)

// probe checks in the metrics of a running webhook that the API server accepts its
// certificate. helm test runs it, since the image has no shell and no curl.
func probe(ctx context.Context, url string, output io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil) //nolint:gosec // the URL is the command line's own
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request) //nolint:gosec // as above
	if err != nil {
		return fmt.Errorf("reading the webhook's metrics: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("reading the webhook's metrics: %s answers %s", url, response.Status)
	}
	lines := bufio.NewScanner(io.LimitReader(response.Body, maxProbeBytes))
	for lines.Scan() {
		switch strings.TrimSpace(lines.Text()) {
		case "capvet_certificate_trusted 1":
			fmt.Fprintln(output, "capvet answers, and the API server accepts its certificate")
			return nil
		case "capvet_certificate_trusted 0":
			return errors.New("capvet answers, but the API server does not accept its certificate: see /readyz and the log")
		}
	}
	return errors.Join(fmt.Errorf("%s has no capvet_certificate_trusted: is it capvet's?", url), lines.Err())
}
