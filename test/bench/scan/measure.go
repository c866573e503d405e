package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Names of the measured commands, for the ratios between them.
const (
	scanWhole  = "capvet scan"
	scanFirst  = "capvet scan --first"
	scanTables = "capvet scan --toc"
	syftWhole  = "syft scan"
	craneWhole = "crane export | tar"
	craneFirst = "crane export | tar --occurrence=1"
	floorAll   = "floor, all layers"
	floorFirst = "floor, deciding layers"
)

// runs is how often each command runs; the fastest counts.
const runs = 3

// command is one that is measured.
type command struct {
	image, name string
	args        []string
}

// commands are those of one image.
func commands(capvet, crane, syft, self string, i image) []command {
	host := i.Reference[:len(i.Reference)-len("/bench:"+i.Name)]
	urls := func(digests []string) []string {
		args := []string{self, floorCommand}
		for _, d := range digests {
			args = append(args, "http://"+host+"/v2/bench/blobs/"+d)
		}
		return args
	}
	// tar's early end breaks the pipe, of which crane complains.
	export := func(tar string) []string {
		return []string{"sh", "-c", `"$1" export --insecure --platform linux/arm64 "$2" - 2>/dev/null | ` + tar +
			` usr/local/sbin/haproxy >/dev/null`, "sh", crane, i.Reference}
	}
	scan := func(more ...string) []string {
		return append([]string{capvet, "scan", "--output", "json", "--plain-http", host, i.Reference}, more...)
	}
	all := []command{
		{i.Name, floorAll, urls(i.Layers)},
		{i.Name, scanWhole, scan()},
		{i.Name, craneWhole, export("tar -xO")},
	}
	if i.Tables {
		all = append(all, command{i.Name, scanTables, scan("--toc")})
	}
	if syft != "" {
		all = append(all, command{i.Name, syftWhole, []string{"env", "SYFT_REGISTRY_INSECURE_USE_HTTP=true", "SYFT_CHECK_FOR_APP_UPDATE=false",
			syft, "scan", "--quiet", "--platform", "linux/arm64", "--output", "json=/dev/null", "registry:" + i.Reference}})
	}
	if len(i.Needed) < len(i.Layers)-1 {
		all = append(all,
			command{i.Name, floorFirst, urls(i.Needed)},
			command{i.Name, scanFirst, scan("--first")},
			command{i.Name, craneFirst, export("tar -xO --occurrence=1")})
	}
	return all
}

// figure holds the resources of one run of a command.
type figure struct {
	wall, cpu time.Duration
	peak      int64 // bytes
	read      int64 // bytes that the registry sent
}

type measurer struct {
	log, host string
	figures   map[[2]string]figure // by image and name
}

func (m *measurer) measure(ctx context.Context, c command) error {
	if m.figures == nil {
		m.figures = map[[2]string]figure{}
	}
	var all []figure
	times := runs
	if c.name == syftWhole {
		times = 1 // it takes longest, and is far off
	}
	for range times {
		f, err := m.once(ctx, c)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", c.name, c.image, err)
		}
		all = append(all, f)
	}
	best := slices.MinFunc(all, func(a, b figure) int { return int(a.wall - b.wall) })
	m.figures[[2]string{c.image, c.name}] = best
	fmt.Printf("%-36s %9.3f %9.3f %9.1f %11.2f\n", c.name, best.wall.Seconds(), best.cpu.Seconds(), float64(best.peak)/(1<<20),
		float64(best.read)/1e6)
	return nil
}

// once runs a command to its end. capvet's code for a finding is a success.
func (m *measurer) once(ctx context.Context, c command) (figure, error) {
	before, err := m.sent()
	if err != nil {
		return figure{}, err
	}
	var stderr bytes.Buffer
	process := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	process.Stderr = &stderr
	start := time.Now()
	err = process.Run()
	wall := time.Since(start)
	if process.ProcessState == nil || err != nil && process.ProcessState.ExitCode() != 3 {
		return figure{}, fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	f := figure{wall: wall, cpu: process.ProcessState.UserTime() + process.ProcessState.SystemTime()}
	if usage, ok := process.ProcessState.SysUsage().(*syscall.Rusage); ok {
		f.peak = usage.Maxrss << 10
	}
	time.Sleep(100 * time.Millisecond) // for the registry to write its log
	after, err := m.sent()
	f.read = after - before
	return f, err
}

// sentBytes is the size of an answer's body in the combined log format.
var sentBytes = regexp.MustCompile(`(?m)" \d{3} (\d+) `)

// sent returns the bytes that the registry has sent so far.
func (m *measurer) sent() (int64, error) {
	log, err := os.ReadFile(m.log)
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, match := range sentBytes.FindAllSubmatch(log, -1) {
		n, err := strconv.ParseInt(string(match[1]), 10, 64)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// compare prints the ratios that the figures are kept for.
func (m *measurer) compare(images []image) {
	fmt.Printf("\n%-16s %-22s %s\n", "ratios", "", "wall time, CPU time, bytes read")
	for _, i := range images {
		for _, pair := range [][2]string{{scanWhole, craneWhole}, {scanWhole, floorAll}, {scanTables, craneWhole}, {scanTables, scanWhole},
			{scanWhole, syftWhole}, {scanFirst, craneFirst}, {scanFirst, floorFirst}} {
			a, ok := m.figures[[2]string{i.Name, pair[0]}]
			b, both := m.figures[[2]string{i.Name, pair[1]}]
			if !ok || !both {
				continue
			}
			fmt.Printf("%-16s %s / %s: %.2f, %.2f, %.3f\n", i.Name, pair[0], pair[1],
				a.wall.Seconds()/b.wall.Seconds(), a.cpu.Seconds()/b.cpu.Seconds(), float64(a.read)/float64(b.read))
		}
	}
}
