package imagescan

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/capvet/capvet/internal/report"
)

// Bounds of the cached resolutions, and of the cached failures.
const (
	maxResolutions = 4096
	// maxResolutionBytes suffices for as many resolutions of usual images.
	maxResolutionBytes = 32 << 20
	maxFailureBytes    = 8 << 20
)

// resolutionCache caches resolved references and failures for a short time, for
// each set of credentials separately.
type resolutionCache struct {
	secret      [32]byte // keys the hashes of credentials
	resolutions *byteCache[resolutionKey, resolution]
	failures    *byteCache[resolutionKey, *Error]
}

// resolutionKey is a reference and platform, with a hash of the credentials.
type resolutionKey struct {
	reference, platform string
	credentials         [sha256.Size]byte
}

// bytes returns the approximate memory of the key, in bytes.
func (k resolutionKey) bytes() int64 { return int64(len(k.reference)+len(k.platform)) + 256 }

func newResolutionCache(resolutionTTL, failureTTL time.Duration) *resolutionCache {
	c := &resolutionCache{
		resolutions: newExpiringCache(resolutionTTL, maxResolutionBytes, maxResolutions,
			func(k resolutionKey, r resolution) int64 { return k.bytes() + r.bytes() }),
		failures: newExpiringCache(failureTTL, maxFailureBytes, maxResolutions,
			func(k resolutionKey, err *Error) int64 {
				return k.bytes() + int64(len(err.Reference)+len(err.Err.Error()))
			}),
	}
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
		// The error itself may hold a whole answer.
		c.failures.add(k, &Error{err.Class, err.Reference, errors.New(err.text())})
	}
}
