package reviewserver

import (
	"errors"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
)

func TestLazyValues(t *testing.T) {
	var got []string
	log := lazyValues(funcr.New(func(prefix, line string) { got = append(got, prefix+" "+line) }, funcr.Options{}), "name", "p")
	log.Info("read", "n", 1)
	log.WithName("scan").WithValues("image", "i").Error(errors.New("e"), "not read", "n", 2)
	log.Info("again")
	want := []string{
		` "level"=0 "msg"="read" "name"="p" "n"=1`,
		`scan "msg"="not read" "error"="e" "name"="p" "image"="i" "n"=2`,
		` "level"=0 "msg"="again" "name"="p"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	lazyValues(logr.Logger{}, "name", "p").Info("discarded")
}
