package harness

import (
	"os/exec"
	"path/filepath"

	"github.com/capvet/capvet/test/process"
)

// controllers are the controllers that create Pods or their owners, and the one
// that aggregates cluster roles.
const controllers = "clusterrole-aggregation-controller,deployment-controller,replicaset-controller,statefulset-controller," +
	"daemonset-controller,job-controller,cronjob-controller,replicationcontroller-controller"

// StartControllers runs a kube-controller-manager with those controllers, as the
// cluster's administrator.
func (c *ControlPlane) StartControllers(binary string) (*process.Process, error) {
	return process.Start(exec.Command(binary,
		"--kubeconfig="+c.Kubeconfig,
		"--controllers="+controllers,
		"--leader-elect=false",
		"--secure-port=0",
		"--kube-api-qps=500", "--kube-api-burst=1000",
	), filepath.Join(c.dir, "kube-controller-manager.log"))
}
