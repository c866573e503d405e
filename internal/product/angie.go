package product

import "github.com/capvet/capvet/internal/report"

// angie is Angie, a fork of nginx 1.23.
func angie() Product {
	return derivedFromNginx(Product{
		Name:        "angie",
		Title:       "Angie",
		Executables: []string{"angie", "angie-debug"},
		Words:       []string{"angie"},
		Markers:     []Marker{{Text: "Angie version: Angie/"}},
		Ranges:      []Range{{ABI: report.ABIV1}},
	})
}
