package pullauth

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// maxSecrets bounds the pull secrets of one Pod that are read.
const maxSecrets = 32

// Resolver reads pull secrets from the API server.
type Resolver struct {
	// Reader reads from the API server itself: a cache would list and watch
	// every Secret of the cluster.
	Reader client.Reader
}

// Credentials returns the credentials of the named pull secrets; without names,
// those of the ServiceAccount's. It skips a missing or malformed secret, as a
// kubelet does, and returns its name in skipped.
func (r Resolver) Credentials(ctx context.Context, namespace, serviceAccount string, secrets []string) (credentials *Credentials,
	skipped []string, err error) {
	if len(secrets) == 0 && serviceAccount != "" {
		if secrets, err = r.ofServiceAccount(ctx, namespace, serviceAccount); err != nil {
			return nil, nil, err
		}
	}
	credentials = &Credentials{}
	for i, secretName := range secrets {
		if i == maxSecrets {
			return credentials, append(skipped, secrets[i:]...), nil
		}
		secret := &corev1.Secret{}
		err := r.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: secretName}, secret)
		switch {
		case apierrors.IsNotFound(err):
			skipped = append(skipped, secretName)
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("reading pull secret %s/%s: %w", namespace, secretName, err)
		}
		if err := credentials.addSecret(secret); err != nil {
			skipped = append(skipped, secretName)
		}
	}
	return credentials, skipped, nil
}

func (r Resolver) ofServiceAccount(ctx context.Context, namespace, serviceAccount string) ([]string, error) {
	account := &corev1.ServiceAccount{}
	if err := r.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: serviceAccount}, account); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("reading ServiceAccount %s/%s: %w", namespace, serviceAccount, err)
	}
	var names []string
	for _, reference := range account.ImagePullSecrets {
		names = append(names, reference.Name)
	}
	return names, nil
}

// addSecret adds the credentials of one secret of either docker type. The error
// never quotes the secret.
func (c *Credentials) addSecret(secret *corev1.Secret) error {
	var auths map[string]authn.AuthConfig
	switch secret.Type {
	case corev1.SecretTypeDockerConfigJson:
		var file struct {
			Auths map[string]authn.AuthConfig `json:"auths"`
		}
		if json.Unmarshal(secret.Data[corev1.DockerConfigJsonKey], &file) != nil {
			return fmt.Errorf("%s is no docker configuration", corev1.DockerConfigJsonKey)
		}
		auths = file.Auths
	case corev1.SecretTypeDockercfg:
		if json.Unmarshal(secret.Data[corev1.DockerConfigKey], &auths) != nil {
			return fmt.Errorf("%s is no docker configuration", corev1.DockerConfigKey)
		}
	default:
		return fmt.Errorf("its type is %q", secret.Type)
	}
	for key, config := range auths {
		c.add(key, config)
	}
	return nil
}
