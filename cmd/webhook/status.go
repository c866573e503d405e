package main

import (
	"context"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/capvet/capvet/internal/policystatus"
)

// No request waits for a status. A client with its own rate keeps status updates
// from delaying reads of pull secrets, and from flooding the API server when a
// thousand policies change.
const (
	statusQPS   = 10
	statusBurst = 20
)

// addStatusWriter adds the writer of policies' statuses to the manager.
func addStatusWriter(ctx context.Context, mgr manager.Manager) error {
	config := rest.CopyConfig(mgr.GetConfig())
	config.QPS, config.Burst, config.RateLimiter = statusQPS, statusBurst, nil
	c, err := client.New(config, client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return err
	}
	writer, err := policystatus.New(ctx, mgr.GetCache(), c, time.Now)
	if err != nil {
		return err
	}
	return mgr.Add(writer)
}
