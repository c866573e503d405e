package product

import "github.com/capvet/capvet/internal/report"

// freenginx is freenginx, a fork of nginx 1.25.
func freenginx() Product {
	return derivedFromNginx(Product{
		Name:        "freenginx",
		Title:       "freenginx",
		Executables: []string{"freenginx"},
		Hints:       []string{"freenginx"},
		Markers:     []Marker{{Text: "freenginx version: freenginx/"}},
		Ranges:      []Range{{ABI: report.ABIV1}},
	})
}
