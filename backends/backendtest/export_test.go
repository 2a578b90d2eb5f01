package backendtest

// RunModelOnce runs one sequence of the model, chosen by choose.
func RunModelOnce(t T, h Harness, steps int, choose func(n int, what string) int) {
	m := newModel(t, h, choose)
	for range steps {
		m.step()
	}
}
