package main

import (
	"errors"
	"flag"
	"fmt"

	"github.com/capvet/capvet/internal/reviewserver"
)

// registerServer makes each bound of the review server a flag.
func registerServer(flags *flag.FlagSet, o *reviewserver.Options) {
	flags.StringVar(&o.Host, "host", "", "`address` to serve admission reviews on; empty: all")
	flags.IntVar(&o.Port, "port", 9443, "port to serve admission reviews on")
	flags.IntVar(&o.Connections, "max-connections", reviewserver.DefaultConnections,
		"open connections for admission reviews; a further one replaces one of an address without a permitted request, or else one of "+
			"an address with more connections, or waits")
	flags.DurationVar(&o.HeaderTime, "header-time", reviewserver.DefaultHeaderTime,
		"time limit of a TLS handshake, and of the header of a request")
	flags.DurationVar(&o.ReviewTime, "review-time", reviewserver.DefaultReviewTime, "time limit for the arrival of a review")
	flags.DurationVar(&o.IdleTime, "idle-time", reviewserver.DefaultIdleTime,
		"how long a connection stays open without a request; below the 90s of an API server, reviews can be lost")
	flags.Int64Var(&o.ReviewMemory, "max-review-memory", reviewserver.DefaultReviewMemory,
		"`bytes` of all reviews in progress, beyond the first 32 KiB of each; a further one waits, and is refused at its deadline, so that "+
			"the failurePolicy applies")
	flags.StringVar(&o.ClientCAFile, "client-ca-file", "",
		"`file` with the certificate authorities, in PEM form, of the client certificates that a review needs; read again when it "+
			"changes; empty: any client may send reviews")
	flags.Func("client-name", "common or DNS `name` that the client certificate must have; may be repeated, needed with --client-ca-file",
		addTo(&o.ClientNames))
}

func validateServer(o *reviewserver.Options) error {
	if (o.ClientCAFile == "") != (len(o.ClientNames) == 0) {
		return errors.New("give both --client-ca-file and --client-name, or neither: an authority signs certificates of other clients too")
	}
	for name, value := range map[string]int64{
		"max-connections": int64(o.Connections), "header-time": int64(o.HeaderTime),
		"review-time": int64(o.ReviewTime), "idle-time": int64(o.IdleTime),
	} {
		if value <= 0 {
			return fmt.Errorf("--%s: give more than 0", name)
		}
	}
	return nil
}
