package layers

import (
	"errors"
	"testing"

	"github.com/capvet/capvet/internal/imagefs"
)

// TestRatioOfAllLayers: layers that each stay below the size from which the ratio
// applies do not add up to any size.
func TestRatioOfAllLayers(t *testing.T) {
	for _, tt := range []struct {
		layers int
		stored int64
		want   error
	}{
		{4, 1, nil},
		{5, 1, imagefs.ErrTooLarge},
		{256, imagefs.RatioFrom/imagefs.DefaultRatio + 1, nil},
	} {
		p := passes{reader: &Reader{Limits: Limits{}.WithDefaults()}}
		for range tt.layers {
			p.stack.summaries = append(p.stack.summaries, &Summary{stored: tt.stored, unpacked: imagefs.RatioFrom})
		}
		if err := p.bounded(0); !errors.Is(err, tt.want) {
			t.Errorf("%d layers of %d bytes: got %v, want %v", tt.layers, tt.stored, err, tt.want)
		}
	}
}
