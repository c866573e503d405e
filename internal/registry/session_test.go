package registry

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// TestConnectEndsWithContext: a caller that waits while another connects returns
// when its context ends.
func TestConnectEndsWithContext(t *testing.T) {
	repository, err := name.NewRepository("example.com/slow")
	if err != nil {
		t.Fatal(err)
	}
	client, err := NewClient(Options{})
	if err != nil {
		t.Fatal(err)
	}
	endpoint := client.Open(repository, authn.Anonymous).clients[0]
	if err := endpoint.connecting.Acquire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := endpoint.connect(ctx, repository); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
