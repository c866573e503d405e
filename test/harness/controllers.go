package harness

import (
	"os/exec"
	"path/filepath"

	"github.com/capvet/capvet/test/process"
)

// workloadControllers are those that make Pods, or what makes Pods.
const workloadControllers = "deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller,job-controller,cronjob-controller,replicationcontroller-controller"

// StartControllers runs a kube-controller-manager with the controllers of
// workloads, as the cluster's administrator.
func (c *ControlPlane) StartControllers(binary string) (*process.Process, error) {
	return process.Start(exec.Command(binary,
		"--kubeconfig="+c.Kubeconfig,
		"--controllers="+workloadControllers,
		"--leader-elect=false",
		"--secure-port=0",
		"--kube-api-qps=500", "--kube-api-burst=1000",
	), filepath.Join(c.dir, "kube-controller-manager.log"))
}
