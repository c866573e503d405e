//go:build prove

package prove

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// nobody is the user ID without privileges on every distribution.
const nobody = 65534

// scenario is one way to run a program. The expected calls come from the program's
// source, not from the verdict.
type scenario struct {
	name    string
	user    int       // user ID at the start: 0 or nobody
	ambient []uintptr // capabilities that it is started with
	// config returns the configuration, given a folder that every user can write
	// to; the server listens on its file socket. A program with a nil config takes
	// none, and ends without a signal.
	config func(folder string) string
	args   []string // %s is the folder with the configuration
	must   []string // the system calls that it is known to make
}

// haproxy returns a scenario of HAProxy, whose calls depend on its configuration
// and user. global has additional lines for the section of that name.
func haproxy(name string, user int, global string, must ...string) scenario {
	return scenario{
		name: name, user: user, must: must, args: []string{"-db", "-f", "%s/config"},
		config: func(folder string) string {
			return "global\n  nbthread 1\n" + global +
				"defaults\n  mode http\n  timeout client 5s\n  timeout connect 5s\n  timeout server 5s\n" +
				"frontend f\n  bind unix@" + folder + "/socket mode 666\n  http-request return status 200\n"
		},
	}
}

const (
	keep  = "  setcap cap_net_bind_service\n"
	leave = "  uid 65534\n  gid 65534\n" + keep
)

// haproxyWithout is for builds without capability code, which know no setcap.
func haproxyWithout() []scenario {
	return []scenario{haproxy("non-root", nobody, ""), haproxy("root", 0, "")}
}

// haproxy30 is for the releases with capability code before 3.1.
func haproxy30() []scenario {
	kept := haproxy("non-root with cap_net_bind_service, setcap", nobody, keep, "capget", "capset")
	kept.ambient = []uintptr{unix.CAP_NET_BIND_SERVICE}
	return []scenario{
		haproxy("non-root", nobody, "", "capget"),
		kept,
		haproxy("root", 0, ""),
		haproxy("root, uid and setcap", 0, leave, "capset"),
	}
}

// haproxy32 is for 3.1 and later: they read their capabilities at every start, for
// a crash report.
func haproxy32() []scenario {
	all := haproxy30()
	for i := range all {
		if !slices.Contains(all[i].must, "capget") {
			all[i].must = append(all[i].must, "capget")
		}
	}
	return all
}

// nginx's scenarios: only a worker that leaves root and binds to others'
// addresses calls.
func nginx() []scenario {
	with := func(proxy string) func(string) string {
		return func(folder string) string {
			var paths strings.Builder
			for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
				fmt.Fprintf(&paths, "  %s_temp_path %s/%s;\n", name, folder, name)
			}
			return fmt.Sprintf("daemon off;\nworker_processes 1;\nuser nobody nogroup;\npid %s/pid;\nerror_log stderr;\nevents { "+
				"worker_connections 16; }\n"+
				"http {\n  access_log off;\n%s  server {\n    listen unix:%s/socket;\n    location / { return 200; }\n"+
				"    location /away { %sproxy_pass http://127.0.0.1:9; }\n  }\n}\n", folder, paths.String(), folder, proxy)
		}
	}
	const transparent = "proxy_bind $remote_addr transparent; "
	args := []string{"-e", "stderr", "-p", "%s", "-c", "%s/config"}
	return []scenario{
		{name: "non-root, transparent", user: nobody, config: with(transparent), args: args},
		{name: "root", config: with(""), args: args},
		{name: "root, transparent", config: with(transparent), args: args, must: []string{"capset"}},
	}
}

// standIn's scenarios: an argument stands for a user to switch to.
func standIn() []scenario {
	return []scenario{
		{name: "non-root", user: nobody, must: []string{"capget"}},
		{name: "root", user: 0},
		{name: "root, another user", user: 0, args: []string{"switch"}, must: []string{"capset"}},
	}
}
