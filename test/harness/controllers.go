package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// workloadControllers are those that make Pods, or what makes Pods.
const workloadControllers = "deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller,job-controller,cronjob-controller"

// controllersStopTimeout is how long kube-controller-manager may take to end.
const controllersStopTimeout = 30 * time.Second

// StartControllers runs a kube-controller-manager with the controllers of
// workloads, as the cluster's administrator. stop ends it and waits; the error
// then says how its log ends if it had not been running any more.
func (c *ControlPlane) StartControllers(binary string) (stop func() error, err error) {
	path := filepath.Join(c.dir, "kube-controller-manager.log")
	log, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own copy
	process := exec.Command(binary,
		"--kubeconfig="+c.Kubeconfig,
		"--controllers="+workloadControllers,
		"--leader-elect=false",
		"--secure-port=0",
		"--kube-api-qps=500", "--kube-api-burst=1000",
	)
	process.Stdout, process.Stderr = log, log
	if err := process.Start(); err != nil {
		return nil, fmt.Errorf("starting kube-controller-manager: %w", err)
	}
	ended := make(chan struct{})
	var endedWith error // read after ended
	go func() {
		endedWith = process.Wait()
		close(ended)
	}()
	return func() error {
		select {
		case <-ended:
			text, err := os.ReadFile(path)
			return errors.Join(fmt.Errorf("kube-controller-manager ended by itself: %w; its log:\n%s", endedWith, text), err)
		default:
		}
		if err := process.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		select {
		case <-ended: // by the signal
		case <-time.After(controllersStopTimeout):
			_ = process.Process.Kill()
			<-ended
		}
		return nil
	}, nil
}
