package inspect

import (
	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/product"
)

// Inspector returns the functions of this package and of package product that
// scans of images use.
func Inspector() layers.Inspector {
	return layers.Inspector{
		IsHint:           product.Hinted,
		IsCandidate:      product.IsExecutable,
		Analyze:          File,
		Screen:           Screen,
		Settings:         product.Settings,
		IsLibrary:        IsLibrary,
		ResolveLibraries: ResolveLibraries,
	}
}
