package product

import "github.com/capvet/capvet/internal/report"

// openresty is OpenResty. Its version begins with that of its nginx.
func openresty() Product {
	return derivedFromNginx(Product{
		Name:        "openresty",
		Title:       "OpenResty",
		Executables: []string{"openresty"},
		Hints:       []string{"openresty"},
		// Gateways that include it under their own name.
		Words:   []string{"kong", "apisix"},
		Markers: []Marker{{Text: "nginx version: openresty/"}},
		Ranges:  []Range{{Before: "1.13.8", ABI: report.ABINone}, {From: "1.13.8", ABI: report.ABIV1}},
	})
}
