package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func kubernetesScheme(s *runtime.Scheme) error {
	return errors.Join(clientgoscheme.AddToScheme(s), apiextensionsv1.AddToScheme(s))
}

// fieldOwner is the field manager for server-side apply.
const fieldOwner = client.FieldOwner("capvet-harness")

// Install applies config/default of the repository at root, as kubectl renders
// it. The one difference from a cluster: the webhook is reached at the given
// URL's host and port, with the given CA, instead of through its Service.
func (c *ControlPlane) Install(ctx context.Context, root, webhookURL string, caBundle []byte) error {
	var stderr bytes.Buffer
	render := exec.CommandContext(ctx, c.Kubectl, "kustomize", filepath.Join(root, "config", "default"))
	render.Stderr = &stderr
	rendered, err := render.Output()
	if err != nil {
		return fmt.Errorf("rendering config/default: %w: %s", err, stderr.Bytes())
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(rendered), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("reading config/default as rendered: %w", err)
		}
		if len(object.Object) == 0 {
			continue
		}
		if object.GetKind() == "ValidatingWebhookConfiguration" {
			if err := reachAt(object, webhookURL, caBundle); err != nil {
				return err
			}
		}
		if err := c.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), fieldOwner, client.ForceOwnership); err != nil {
			return fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return c.waitForPolicyKinds(ctx)
}

// reachAt points every webhook of a configuration at a URL.
func reachAt(configuration *unstructured.Unstructured, url string, caBundle []byte) error {
	var typed admissionregistrationv1.ValidatingWebhookConfiguration
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(configuration.Object, &typed); err != nil {
		return fmt.Errorf("reading ValidatingWebhookConfiguration %s: %w", configuration.GetName(), err)
	}
	for i := range typed.Webhooks {
		address := url + *typed.Webhooks[i].ClientConfig.Service.Path
		typed.Webhooks[i].ClientConfig = admissionregistrationv1.WebhookClientConfig{URL: &address, CABundle: caBundle}
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&typed)
	configuration.Object = object
	return err
}

// waitForPolicyKinds waits until the API server serves the policy kinds.
func (c *ControlPlane) waitForPolicyKinds(ctx context.Context) error {
	for _, name := range []string{"capsetpolicies.capvet.dev", "clustercapsetpolicies.capvet.dev"} {
		err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			crd := &apiextensionsv1.CustomResourceDefinition{}
			if err := c.Client.Get(ctx, client.ObjectKey{Name: name}, crd); err != nil {
				return false, err
			}
			for _, condition := range crd.Status.Conditions {
				if condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue {
					return true, nil
				}
			}
			return false, nil
		})
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", name, err)
		}
	}
	return nil
}
