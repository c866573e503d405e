package product

import "github.com/capvet/capvet/internal/report"

// tengine is Tengine. Its 2.3.0 moved to nginx 1.15.
func tengine() Product {
	return derivedFromNginx(Product{
		Name:        "tengine",
		Title:       "Tengine",
		Executables: []string{"tengine"},
		Hints:       []string{"tengine"},
		Markers:     []Marker{{Text: "Tengine version: Tengine/"}},
		Ranges:      []Range{{Before: "2.3.0", ABI: report.ABINone}, {From: "2.3.0", ABI: report.ABIV1}},
	})
}
