package product

import "github.com/capvet/capvet/internal/report"

// angie is Angie, a fork of nginx 1.23.
func angie() Product {
	return Product{
		Name:        "angie",
		Title:       "Angie",
		Executables: []string{"angie", "angie-debug"},
		Words:       []string{"angie"},
		Markers:     []Marker{{Text: "Angie version: Angie/"}},
		Functions:   []string{"ngx_worker_process_init"},
		Ranges: []Range{
			{ABI: report.ABIV1},
		},
		Triggers: nginxTriggers("Angie"),
		Advice:   nginxAdvice("Angie"),
	}
}
