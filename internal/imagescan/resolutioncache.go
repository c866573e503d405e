package imagescan

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
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
	secret      [32]byte // keys the hashes of credentials
	resolutions *expiringCache[resolution]
	failures    *expiringCache[*Error]
}

// resolutionKey is a reference and platform, with a hash of the credentials.
type resolutionKey struct {
	reference, platform string
	credentials         [sha256.Size]byte
}

// expiringCache is an LRU cache whose values expire. A ttl of zero disables it.
type expiringCache[V any] struct {
	*lru.Cache[resolutionKey, expiring[V]]
	ttl time.Duration
	now func() time.Time
}

// expiring is a cached value with its time of expiry.
type expiring[V any] struct {
	value V
	until time.Time
}

func newExpiringCache[V any](ttl time.Duration) *expiringCache[V] {
	cache, _ := lru.New[resolutionKey, expiring[V]](maxResolutions) // fails only for a size that is not positive
	return &expiringCache[V]{cache, ttl, time.Now}
}

func (c *expiringCache[V]) get(k resolutionKey) (V, bool) {
	v, ok := c.Get(k)
	return v.value, ok && c.now().Before(v.until)
}

func (c *expiringCache[V]) add(k resolutionKey, value V) {
	if c.ttl > 0 {
		c.Add(k, expiring[V]{value, c.now().Add(c.ttl)})
	}
}

func newResolutionCache(resolutionTTL, failureTTL time.Duration) *resolutionCache {
	c := &resolutionCache{resolutions: newExpiringCache[resolution](resolutionTTL), failures: newExpiringCache[*Error](failureTTL)}
	_, _ = rand.Read(c.secret[:]) // never fails
	return c
}

// key returns false for credentials that cannot be compared, and if the cache is
// disabled.
func (c *resolutionCache) key(reference, platform string, credentials []authn.Authenticator) (resolutionKey, bool) {
	k := resolutionKey{reference: reference, platform: platform}
	if c.resolutions.ttl <= 0 && c.failures.ttl <= 0 {
		return k, false
	}
	mac := hmac.New(sha256.New, c.secret[:])
	for _, credential := range credentials {
		config, err := credential.Authorization()
		if err != nil {
			return k, false
		}
		_, _ = fmt.Fprintf(mac, "%q\n", []string{config.Username, config.Password, config.Auth, config.IdentityToken, config.RegistryToken})
	}
	mac.Sum(k.credentials[:0])
	return k, true
}

// addFailure caches a failure that the next attempt would most likely repeat. A
// timeout depends on the request, and an internal error may not recur.
func (c *resolutionCache) addFailure(k resolutionKey, err *Error) {
	if err.Class != report.FailureTimeout && err.Class != report.FailureInternal {
		c.failures.add(k, err)
	}
}
