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

// maxResolutions bounds the cached resolutions, and the cached failures.
const maxResolutions = 4096

// resolutionCache caches resolved references and failures for a short time, for
// each set of credentials separately.
type resolutionCache struct {
	secret        [32]byte // keys the hashes of credentials
	resolutions   *lru.Cache[resolutionKey, expiring[resolution]]
	failures      *lru.Cache[resolutionKey, expiring[*Error]]
	resolutionTTL time.Duration
	failureTTL    time.Duration
	now           func() time.Time
}

// resolutionKey is a reference and platform, with a hash of the credentials.
type resolutionKey struct {
	reference, platform string
	credentials         [sha256.Size]byte
}

// expiring is a cached value with its time of expiry.
type expiring[V any] struct {
	value V
	until time.Time
}

func newResolutionCache(resolutionTTL, failureTTL time.Duration) (*resolutionCache, error) {
	c := &resolutionCache{resolutionTTL: resolutionTTL, failureTTL: failureTTL, now: time.Now}
	if _, err := rand.Read(c.secret[:]); err != nil {
		return nil, fmt.Errorf("no random numbers: %w", err)
	}
	var err error
	if c.resolutions, err = lru.New[resolutionKey, expiring[resolution]](maxResolutions); err != nil {
		return nil, err
	}
	c.failures, err = lru.New[resolutionKey, expiring[*Error]](maxResolutions)
	return c, err
}

// key returns false for credentials that cannot be compared, and if the cache is
// disabled.
func (c *resolutionCache) key(reference, platform string, credentials []authn.Authenticator) (resolutionKey, bool) {
	k := resolutionKey{reference: reference, platform: platform}
	if c.resolutionTTL <= 0 && c.failureTTL <= 0 {
		return k, false
	}
	mac := hmac.New(sha256.New, c.secret[:])
	for _, credential := range credentials {
		config, err := credential.Authorization()
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

func (c *resolutionCache) resolution(k resolutionKey) (resolution, bool) {
	v, ok := c.resolutions.Get(k)
	return v.value, ok && c.now().Before(v.until)
}

func (c *resolutionCache) addResolution(k resolutionKey, r resolution) {
	if c.resolutionTTL > 0 {
		c.resolutions.Add(k, expiring[resolution]{r, c.now().Add(c.resolutionTTL)})
	}
}

func (c *resolutionCache) failure(k resolutionKey) (*Error, bool) {
	v, ok := c.failures.Get(k)
	return v.value, ok && c.now().Before(v.until)
}

// addFailure caches a failure that the next attempt would most likely repeat. A
// timeout depends on the request, and an internal error may not recur.
func (c *resolutionCache) addFailure(k resolutionKey, err *Error) {
	if c.failureTTL > 0 && err.Class != report.FailureTimeout && err.Class != report.FailureInternal {
		c.failures.Add(k, expiring[*Error]{err, c.now().Add(c.failureTTL)})
	}
}
