package product

import "github.com/capvet/capvet/internal/report"

// freenginx is freenginx, a fork of nginx 1.25.
func freenginx() Product {
	return Product{
		Name:        "freenginx",
		Title:       "freenginx",
		Executables: []string{"freenginx"},
		Hints:       []string{"freenginx"},
		Markers:     []Marker{{Text: "freenginx version: freenginx/"}},
		Functions:   []string{"ngx_worker_process_init"},
		Ranges: []Range{
			{ABI: report.ABIV1},
		},
		Triggers: nginxTriggers("freenginx"),
		Advice:   nginxAdvice("freenginx"),
	}
}
