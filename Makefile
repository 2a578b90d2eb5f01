.DEFAULT_GOAL := help
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 20s
COUNT ?= 6
# Folders of the nested modules.
MODULES := $(sort $(dir $(wildcard */go.mod */*/go.mod)))

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: test
test: ## run the tests, on real servers where they are installed
	go test ./...

.PHONY: race
race: ## run the tests under the race detector
	go test -race -timeout 20m ./...

.PHONY: modules
modules: ## run the tests of the nested modules: bench, containers, ...
	@for m in $(MODULES); do echo "$$m"; go -C $$m test ./... || exit 1; done

.PHONY: containers
containers: ## run the tests on servers in containers
	go -C testcontainers_test test -v ./...

.PHONY: lint
lint: ## gofmt, vet, staticcheck and the import picture
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...
	go test -count=1 ./internal/importpicture

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (20s)
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's/:func / /' | sort | while read -r file target; do \
		echo "$$target in $$(dirname $$file)"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname $$file)" || exit 1; \
	done

.PHONY: bench
bench: ## L1 hits beside raw ristretto and otter, COUNT (6) runs, summed up by benchstat
	@mkdir -p bin
	go -C bench test -run '^$$' -bench . -count $(COUNT) ./l1 | tee bin/bench.txt
	go -C bench tool benchstat ../bin/bench.txt

.PHONY: servers
servers: ## say which servers the tests would run on
	@for s in redis-server memcached; do \
		if command -v $$s >/dev/null; then echo "$$s: $$(command -v $$s)"; else echo "$$s: not installed, its stand-in is used"; fi; \
	done
	@if docker info >/dev/null 2>&1; then echo "containers: $$(docker version --format '{{.Server.Version}}')"; else echo "containers: no engine"; fi

.PHONY: ci
ci: ## everything that has to hold, as CI runs it
	.ci/run
