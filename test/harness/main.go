package harness

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Main calls run with a context that an interrupt ends, and exits with its code. An error is printed with the program's name, and
// makes the code 1.
func Main(name string, run func(context.Context) (code int, err error)) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		code = 1
	}
	os.Exit(code)
}

// Environment returns the values of variables that a make target sets to folders of built tools. The error names the variables
// that are not set, and the target.
func Environment(target string, names ...string) ([]string, error) {
	values := make([]string, len(names))
	var missing []string
	for i, name := range names {
		if values[i] = os.Getenv(name); values[i] == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("not set: %s: run make %s, which builds these tools", strings.Join(missing, ", "), target)
	}
	return values, nil
}
