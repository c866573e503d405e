package imagescan

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/capvet/capvet/internal/report"
)

// maxRemembered is how many resolutions, and how many failures, are kept.
const maxRemembered = 4096

// memory keeps for a short time what references came to. What one set of
// credentials found is not told to another.
type memory struct {
	secret   [32]byte // so that what is kept of credentials is of no use elsewhere
	tags     *lru.Cache[asked, kept[resolution]]
	failures *lru.Cache[asked, kept[*Error]]
	tagTime  time.Duration
	failTime time.Duration
	now      func() time.Time
}

// asked is who asked for what.
type asked struct {
	reference, platform string
	credentials         [sha256.Size]byte
}

type kept[V any] struct {
	value V
	until time.Time
}

func newMemory(tagTime, failTime time.Duration) (*memory, error) {
	m := &memory{tagTime: tagTime, failTime: failTime, now: time.Now}
	if _, err := rand.Read(m.secret[:]); err != nil {
		return nil, fmt.Errorf("no random numbers: %w", err)
	}
	var err error
	if m.tags, err = lru.New[asked, kept[resolution]](maxRemembered); err != nil {
		return nil, err
	}
	m.failures, err = lru.New[asked, kept[*Error]](maxRemembered)
	return m, err
}

// key returns false for credentials that cannot be told apart.
func (m *memory) key(reference, platform string, credentials []authn.Authenticator) (asked, bool) {
	k := asked{reference: reference, platform: platform}
	if m.tagTime <= 0 && m.failTime <= 0 {
		return k, false
	}
	mac := hmac.New(sha256.New, m.secret[:])
	for _, c := range credentials {
		config, err := c.Authorization()
		if err != nil {
			return k, false
		}
		text, err := json.Marshal([]string{config.Username, config.Password, config.Auth, config.IdentityToken, config.RegistryToken})
		if err != nil {
			return k, false
		}
		mac.Write(text)
	}
	mac.Sum(k.credentials[:0])
	return k, true
}

func (m *memory) resolution(k asked) (resolution, bool) {
	v, ok := m.tags.Get(k)
	return v.value, ok && m.now().Before(v.until)
}

func (m *memory) keepResolution(k asked, r resolution) {
	if m.tagTime > 0 {
		m.tags.Add(k, kept[resolution]{r, m.now().Add(m.tagTime)})
	}
}

func (m *memory) failure(k asked) (*Error, bool) {
	v, ok := m.failures.Get(k)
	return v.value, ok && m.now().Before(v.until)
}

// keepFailure keeps those that the next attempt would most likely meet again.
// Running out of time says more of who asked, and an error in here may pass.
func (m *memory) keepFailure(k asked, err *Error) {
	if m.failTime > 0 && err.Class != report.FailureTimeout && err.Class != report.FailureInternal {
		m.failures.Add(k, kept[*Error]{err, m.now().Add(m.failTime)})
	}
}
