package subject

import (
	"path"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// configMapIndex finds files of containers in ConfigMap volumes. It is built once for an object:
// a Pod may have thousands of containers, mounts and items, and each file is looked for in each
// container.
type configMapIndex struct {
	mounts  map[string][]mount // by container
	volumes map[string]configMapVolume
}

// mount is a mount of a volume at a clean, absolute path.
type mount struct {
	at     string
	volume *corev1.VolumeMount
}

// configMapVolume is a volume with all keys of a ConfigMap, or, with items, some of them by their
// clean paths.
type configMapVolume struct {
	configMap string // empty: another kind of volume
	all       bool
	items     map[string]string
}

// configMapFiles returns a function that finds the ConfigMap and key behind a file of a container,
// by the file's clean, absolute path; false if the file is not from a ConfigMap volume.
func (s *Subject) configMapFiles() func(container, file string) (name, key string, ok bool) {
	index := sync.OnceValue(s.indexConfigMaps)
	return func(container, file string) (name, key string, ok bool) { return index().find(container, file) }
}

func (s *Subject) indexConfigMaps() *configMapIndex {
	x := &configMapIndex{mounts: map[string][]mount{}, volumes: map[string]configMapVolume{}}
	for c := range s.containers() {
		for i := range c.VolumeMounts {
			m := &c.VolumeMounts[i]
			x.mounts[c.Name] = append(x.mounts[c.Name], mount{path.Clean("/" + m.MountPath), m})
		}
	}
	for i := range s.Template.Spec.Volumes {
		v := &s.Template.Spec.Volumes[i]
		if _, known := x.volumes[v.Name]; !known {
			x.volumes[v.Name] = configMapVolumeOf(v.ConfigMap)
		}
	}
	return x
}

func configMapVolumeOf(source *corev1.ConfigMapVolumeSource) configMapVolume {
	if source == nil {
		return configMapVolume{}
	}
	v := configMapVolume{configMap: source.Name, all: len(source.Items) == 0, items: map[string]string{}}
	for _, item := range source.Items {
		at := path.Clean(item.Path)
		if _, known := v.items[at]; !known {
			v.items[at] = item.Key
		}
	}
	return v
}

func (x *configMapIndex) find(container, file string) (name, key string, ok bool) {
	var inner mount // the innermost one above the file
	for _, m := range x.mounts[container] {
		above := m.at == file || strings.HasPrefix(file, m.at) && (m.at == "/" || file[len(m.at)] == '/')
		if above && (inner.volume == nil || len(m.at) > len(inner.at)) {
			inner = m
		}
	}
	if inner.volume == nil || inner.volume.SubPathExpr != "" {
		return "", "", false
	}
	volume := x.volumes[inner.volume.Name]
	within := strings.TrimPrefix(path.Join(inner.volume.SubPath, strings.TrimPrefix(file, inner.at)), "/")
	if volume.all {
		return volume.configMap, within, within != "" && !strings.Contains(within, "/")
	}
	key, ok = volume.items[within]
	if !ok {
		return "", "", false
	}
	return volume.configMap, key, true
}
