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
		case err != nil && !apierrors.IsNotFound(err):
			return nil, nil, fmt.Errorf("reading pull secret %s/%s: %w", namespace, secretName, err)
		case err != nil || !credentials.addSecret(secret):
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

// addSecret adds the credentials of one secret, and reports whether it is a
// well-formed one of either docker type.
func (c *Credentials) addSecret(secret *corev1.Secret) bool {
	var file struct {
		Auths map[string]authn.AuthConfig `json:"auths"`
	}
	var err error
	switch secret.Type {
	case corev1.SecretTypeDockerConfigJson:
		err = json.Unmarshal(secret.Data[corev1.DockerConfigJsonKey], &file)
	case corev1.SecretTypeDockercfg:
		err = json.Unmarshal(secret.Data[corev1.DockerConfigKey], &file.Auths)
	default:
		return false
	}
	if err != nil {
		return false
	}
	for key, config := range file.Auths {
		c.add(key, config)
	}
	return true
}
