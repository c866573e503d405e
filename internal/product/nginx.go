package product

import "github.com/capvet/capvet/internal/report"

// nginx: src/os/unix/ngx_process_cycle.c since 1.13.8; header v1 up to the newest source
// seen (2026-04).
func nginx() Product {
	return derivedFromNginx(Product{
		Name:        "nginx",
		Title:       "nginx",
		Executables: []string{"nginx", "nginx-debug"},
		Hints:       []string{"nginx"},
		Markers:     []Marker{{Text: "nginx version: nginx/"}},
		Ranges:      []Range{{Before: "1.13.8", ABI: report.ABINone}, {From: "1.13.8", ABI: report.ABIV1}},
	})
}

// derivedFromNginx completes a product with the code of nginx's worker processes: the worker of
// a master that runs as root makes the call.
func derivedFromNginx(p Product) Product {
	const with = "a `user` other than root and a bind with `transparent`, such as `proxy_bind`"
	p.Functions, p.Advice = []string{"ngx_worker_process_init"}, nginxAdvice(p.Title)
	p.Triggers = []Trigger{{
		When:    report.WhenConditional,
		Why:     p.Title + " makes this call only when it is started as root, with " + with + ".",
		Root:    Condition{Requires: []Directive{{Text: "`user`"}, {Text: "`transparent`"}}, Text: with},
		NonRoot: Condition{Never: true},
	}}
	return p
}

func nginxAdvice(title string) Advice {
	unfixed := "No release of " + title + " with the current ABI is known."
	return Advice{
		Start: []string{"It is harmless: the kernel logs one line per boot, and nothing else changes.", unfixed},
		Conditional: []string{
			"Leave it as it is: without a transparent bind nothing is logged, with one the kernel logs one harmless line per boot.", unfixed},
		Dormant: []string{"This Pod needs no action: as non-root, " + title + " does not make the call."},
		Unstarted: []string{
			"Leave it as it is: if this Pod starts " + title + ", the kernel logs at most one harmless line per boot.", unfixed},
		UnknownABI: []string{"Every known release of " + title + " with capability calls uses the legacy ABI, which is harmless."},
	}
}
