package main

import (
	"context"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/capvet/capvet/internal/policystatus"
)

// Statuses are nobody's answer: they must not keep pull secrets waiting, nor
// flood the API server when each of a thousand policies gets a new one.
const (
	statusQPS   = 10
	statusBurst = 20
)

// addStatusWriter has the status of policies written, with a client and a rate
// of its own. Every replica does; see policystatus.
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
	return mgr.Add(everywhere{writer})
}

// everywhere runs in every replica, not in a leader alone.
type everywhere struct{ manager.Runnable }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (everywhere) NeedLeaderElection() bool { return false }
