package v1alpha1

// Values returns all values of the type, as the schema has them.
func (Action) Values() []string {
	return []string{string(ActionIgnore), string(ActionAudit), string(ActionWarn), string(ActionReject)}
}

// Values returns all values of the type, as the schema has them.
func (WorkloadAction) Values() []string {
	return []string{string(WorkloadIgnore), string(WorkloadWarn), string(WorkloadReject)}
}

// Values returns all values of the type, as the schema has them.
func (Trigger) Values() []string { return []string{string(TriggerAny), string(TriggerStart)} }

// Values returns all values of the type, as the schema has them.
func (ImageSelection) Values() []string { return []string{string(ImagesHinted), string(ImagesAll)} }

// Values returns all values of the type, as the schema has them.
func (BinarySelection) Values() []string {
	return []string{string(BinariesProxies), string(BinariesAll)}
}

// Values returns all values of the type, as the schema has them.
func (Architecture) Values() []string {
	return []string{"amd64", "arm", "arm64", "ppc64le", "riscv64", "s390x"}
}
