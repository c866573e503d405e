package product

import "github.com/capvet/capvet/internal/report"

// nginx: src/os/unix/ngx_process_cycle.c since 1.13.8; still header v1 in the
// newest source seen (2026-04).
func nginx() Product {
	return Product{
		Name:        "nginx",
		Executables: []string{"nginx", "nginx-debug"},
		Hints:       []string{"nginx"},
		Markers:     []Marker{{Text: "nginx version: nginx/"}},
		Functions:   []string{"ngx_worker_process_init"},
		Ranges: []Range{
			{Before: "1.13.8", ABI: report.ABINone},
			{From: "1.13.8", ABI: report.ABIV1},
		},
		Trigger: nginxTrigger,
		Legacy:  nginxLegacy,
	}
}

func nginxLegacy(Found) string { return nginxAdvice }

const nginxAdvice = "Harmless and rarely reached: only a configuration with a transparent bind makes the call, and then the kernel logs one line; " +
	"function, security and speed are unchanged. No release with the newer header is known."

func nginxTrigger(Found) report.Trigger {
	return report.Trigger{
		When: report.WhenConditional,
		Why: "runs only in a worker whose master is root, with a user directive other than root and some bind ... transparent " +
			"(for example proxy_bind) in the configuration",
	}
}
