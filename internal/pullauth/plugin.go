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
	// maxPlugins is how many plugins run at a time.
	maxPlugins = 4
	// pluginTime is how long a plugin may take, as for a kubelet.
	pluginTime = time.Minute
	// pluginGrace is how long a plugin's children may hold its output open.
	pluginGrace = time.Second
	// maxPluginAnswer is how many bytes a plugin may answer.
	maxPluginAnswer = 1 << 20
	// maxPluginWords is how many bytes of what it says of a failure are kept.
	maxPluginWords = 512
)

// plugin is a program that is asked for credentials: a request on its standard
// input, an answer on its standard output.
type plugin struct {
	program     string
	args        []string
	environment []kubeletconfigv1.ExecEnvVar
}

// run asks for an image's credentials.
func (p plugin) run(ctx context.Context, image string) (*credentialproviderv1.CredentialProviderResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, pluginTime)
	defer cancel()
	request := credentialproviderv1.CredentialProviderRequest{Image: image}
	request.APIVersion, request.Kind = credentialproviderv1.SchemeGroupVersion.String(), "CredentialProviderRequest"
	input, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, p.program, p.args...) //nolint:gosec // the administrator names it
	command.WaitDelay = pluginGrace
	command.Env = os.Environ()
	for _, variable := range p.environment {
		command.Env = append(command.Env, variable.Name+"="+variable.Value)
	}
	output, words := &bounded{limit: maxPluginAnswer}, &bounded{limit: maxPluginWords, cut: true}
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(input), output, words
	if err := command.Run(); err != nil {
		switch {
		case output.full:
			err = fmt.Errorf("it answered more than %d bytes", maxPluginAnswer)
		case ctx.Err() != nil:
			err = fmt.Errorf("it took more than %s", pluginTime)
		}
		return nil, fmt.Errorf("%w: %q", err, words.kept.Bytes())
	}
	var response credentialproviderv1.CredentialProviderResponse
	// The decoder's own error would quote the answer, and so a secret.
	if json.Unmarshal(output.kept.Bytes(), &response) != nil {
		return nil, errors.New("its answer is not JSON of a CredentialProviderResponse")
	}
	if response.Kind != "CredentialProviderResponse" || response.APIVersion != request.APIVersion {
		return nil, fmt.Errorf("its answer is a %q of %q: want a CredentialProviderResponse of %s", response.Kind, response.APIVersion, request.APIVersion)
	}
	return &response, nil
}

func entriesOf(response *credentialproviderv1.CredentialProviderResponse) []entry {
	var entries []entry
	for key, said := range response.Auth {
		if host, path, ok := splitKey(key); ok {
			entries = append(entries, entry{host: host, path: path, config: authn.AuthConfig{Username: said.Username, Password: said.Password}})
		}
	}
	return entries
}

// bounded keeps what is written to it, up to a limit. What is more is an error,
// or cut.
type bounded struct {
	kept  bytes.Buffer // not embedded: its ReadFrom knows no limit
	limit int
	cut   bool
	full  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.limit - b.kept.Len()
	if len(p) <= room {
		return b.kept.Write(p)
	}
	b.full = true
	if !b.cut {
		return 0, io.ErrShortWrite
	}
	b.kept.Write(p[:room])
	return len(p), nil
}
