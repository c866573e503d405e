package pullauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	kubeletconfigv1 "k8s.io/kubelet/config/v1"
	credentialproviderv1 "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

const (
	// maxPlugins bounds the plugins that run concurrently.
	maxPlugins = 4
	// pluginTime bounds one run of a plugin, as in a kubelet.
	pluginTime = time.Minute
	// pluginGrace bounds the time that a plugin's children keep its output open.
	pluginGrace = time.Second
	// maxPluginAnswer is the largest response of a plugin, in bytes.
	maxPluginAnswer = 1 << 20
	// maxPluginStderr is the part of its standard error that is reported, in bytes.
	maxPluginStderr = 512
)

// plugin is a program that reads a CredentialProviderRequest from its standard
// input and writes a CredentialProviderResponse to its standard output.
type plugin struct {
	program     string
	args        []string
	environment []kubeletconfigv1.ExecEnvVar
}

// run requests the credentials for an image.
func (p plugin) run(ctx context.Context, image string) (*credentialproviderv1.CredentialProviderResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, pluginTime)
	defer cancel()
	request := credentialproviderv1.CredentialProviderRequest{Image: image}
	request.APIVersion, request.Kind = credentialproviderv1.SchemeGroupVersion.String(), "CredentialProviderRequest"
	input, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, p.program, p.args...) //nolint:gosec // the administrator chose it
	command.WaitDelay = pluginGrace
	command.Env = os.Environ()
	for _, variable := range p.environment {
		command.Env = append(command.Env, variable.Name+"="+variable.Value)
	}
	output, stderr := &bounded{limit: maxPluginAnswer}, &bounded{limit: maxPluginStderr, truncate: true}
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(input), output, stderr
	if err := command.Run(); err != nil {
		switch {
		case output.full:
			err = fmt.Errorf("it answered more than %d bytes", maxPluginAnswer)
		case ctx.Err() != nil:
			err = fmt.Errorf("it took more than %s", pluginTime)
		}
		return nil, fmt.Errorf("%w: %q", err, stderr.buffer.Bytes())
	}
	var response credentialproviderv1.CredentialProviderResponse
	// The decoder's own error would quote the response, which holds a secret.
	if json.Unmarshal(output.buffer.Bytes(), &response) != nil {
		return nil, errors.New("its answer is not JSON of a CredentialProviderResponse")
	}
	if response.Kind != "CredentialProviderResponse" || response.APIVersion != request.APIVersion {
		return nil, fmt.Errorf("its answer is a %q of %q: want a CredentialProviderResponse of %s", response.Kind, response.APIVersion,
			request.APIVersion)
	}
	return &response, nil
}

func entriesOf(response *credentialproviderv1.CredentialProviderResponse) []entry {
	var entries []entry
	for key, auth := range response.Auth {
		if e, ok := parseKey(key); ok {
			e.config, e.rank = authn.AuthConfig{Username: auth.Username, Password: auth.Password}, 1
			entries = append(entries, e)
		}
	}
	return entries
}

// bounded is a buffer with a limit. It truncates further output, or refuses it.
type bounded struct {
	buffer   bytes.Buffer // not embedded: its ReadFrom would bypass the limit
	limit    int
	truncate bool
	full     bool
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.limit - b.buffer.Len()
	if len(p) <= room {
		return b.buffer.Write(p)
	}
	b.full = true
	if !b.truncate {
		return 0, io.ErrShortWrite
	}
	b.buffer.Write(p[:room])
	return len(p), nil
}
