# Tonearm. `make help` lists what there is.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
CACHE ?= $(or $(TONEARM_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tonearm)
LINT := $(CACHE)/bin/golangci-lint-v2.15.0
VULN := $(CACHE)/bin/govulncheck-v1.9.0
export TONEARM_CACHE := $(CACHE)

.PHONY: help demo up build install tonearm ffmpeg ffmpeg-test test docs-test browser-test upgrade-test media-test abuse-test fuzz large-test faults faults-ci faults-node cluster-test scale-test dashboards-test bench images lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## convert one video on this machine, from upload to mail to MP3 in out/
	@scripts/setup ffmpeg curl jq
	go build -tags nokubernetes -o bin/demo/ ./cmd/tonearm ./cmd/transcoder
	@scripts/demo

up: tonearm ## run everything on http://localhost:8080, data in .tonearm/
	@bin/tonearm up

build: tonearm ## the five commands in bin/
	go build -ldflags '-X tonearm/internal/version.stamped=$(VERSION)' -o bin/ ./cmd/...

tonearm: # what up needs
	@scripts/setup
	go build -ldflags '-X tonearm/internal/version.stamped=$(VERSION)' -o bin/ ./cmd/tonearm ./cmd/transcoder

PREFIX ?= /usr/local

install: tonearm ## tonearm and its transcoder, the manual and the completion of bash, zsh and fish, below PREFIX (/usr/local)
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/share/bash-completion/completions" \
		"$(DESTDIR)$(PREFIX)/share/zsh/site-functions" "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d"
	install bin/tonearm bin/transcoder "$(DESTDIR)$(PREFIX)/bin"
	bin/tonearm man "$(DESTDIR)$(PREFIX)/share/man/man1"
	bin/tonearm completion bash >"$(DESTDIR)$(PREFIX)/share/bash-completion/completions/tonearm"
	bin/tonearm completion zsh >"$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_tonearm"
	bin/tonearm completion fish >"$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/tonearm.fish"

ffmpeg: ## a static ffmpeg with what Tonearm uses and nothing else, from Debian's sources, in bin/ (Linux; Debian and root, or Docker; 5 minutes, once)
	@[ "$$(uname)" = Linux ] || { echo 'make ffmpeg: the program runs only on Linux' >&2; exit 1; }
	@mkdir -p bin && program=$$(scripts/ffmpeg) && rm -rf bin/ffmpeg.licenses && cp "$$program" bin/ffmpeg && \
		cp -R "$${program%/*}/licenses" bin/ffmpeg.licenses && ls -l bin/ffmpeg
	TONEARM_TEST_OWN_FFMPEG=$(CURDIR)/bin/ffmpeg go test -count=1 -run TestComponents ./internal/media/ffmpeg

test: build ## every test that needs no cluster, on real servers that it starts itself
	@scripts/setup ffmpeg redis-server mariadbd curl
	go vet ./...
	go run ./test/servers -- sh -c 'go test -race -timeout 25m $$(go list ./... | grep -v /test/e2e) && go test -race -v -timeout 25m ./test/e2e'
	cd test/ferretdb && go test ./...
	cd dashboards && go test -count=1 . ./grafana

docs-test: build ## run every command of README and docs, in bash and zsh, with curl, mc, rclone, aws and s3cmd (3 minutes)
	@scripts/setup ffmpeg curl jq zsh rclone aws s3cmd dash busybox sqlite3 redis-server
	TONEARM_TEST_DOCS=1 go run ./test/servers -only minio -- go test -count=1 -v -timeout 15m ./test/docs

browser-test: ## pages, sessions and mails in a real Chromium (half a minute); TONEARM_TEST_MAILS_OUT=FOLDER for pictures of the mails
	@scripts/setup chromium
	TONEARM_TEST_CHROMIUM=chromium go test -count=1 -run Chromium ./gateway ./notifier

upgrade-test: build ## old programs, built from the history, and new ones on the same data and servers, there and back (3 minutes, 2 more the first time); TONEARM_UPGRADE_FROM=COMMIT
	@scripts/setup ffmpeg redis-server mariadbd
	TONEARM_TEST_UPGRADE=1 go run ./test/servers -- go test -count=1 -v -parallel 8 -timeout 15m ./test/upgrade

ffmpeg-test: ffmpeg ## the tests of media and transcoder with bin/ffmpeg, on this processor and on one without special instructions (amd64; 4 minutes)
	@scripts/setup ffmpeg qemu-x86_64
	TONEARM_TEST_FFMPEG=$(CURDIR)/bin/ffmpeg TONEARM_TEST_QEMU='qemu-x86_64 -cpu qemu64' go test -count=1 ./internal/media/... ./transcoder

media-test: ## every kind of input converted on every way and judged by what a decoder hears, and each mend undone once (15 minutes); TONEARM_FFMPEG=PROGRAM, CASE=REGEXP, RANDOM=N, SEED=N
	@scripts/setup ffmpeg
	TONEARM_TEST_MEDIA=1 go test -count=1 -timeout 60m -v -run 'TestMedia$(if $(CASE),/$(CASE))' ./internal/media $(if $(RANDOM),-random $(RANDOM)) $(if $(SEED),-seed $(SEED))

large-test: build ## a source of 6 GiB through everything, with the memory each process took (20 GB of disk)
	@scripts/setup
	TONEARM_TEST_LARGE=1 go test -count=1 -v -run TestLarge -timeout 20m ./test/e2e

abuse-test: ## hostile inputs on a running server, and every defense taken out once: each turns its tests red (25 minutes)
	@scripts/setup ffmpeg redis-server mariadbd
	TONEARM_TEST_ABUSE=1 go run ./test/servers -- go test -count=1 -v -timeout 60m ./test/abuse

FUZZTIME ?= 10m
fuzz: ## what outsiders send: notifications, keys, tokens, options, addresses and containers (FUZZTIME=10m for each)
	@scripts/setup ffmpeg
	scripts/fuzz $(FUZZTIME)

faults: $(if $(BIN),,build) ## servers, connections and programs break while files go through (40 minutes); FAULTS=REGEXP for some, BIN=DIR for other programs
	@scripts/setup ffmpeg redis-server mariadbd
	@mkdir -p .faults
	go run ./test/faults -bin '$(or $(BIN),bin)' -out .faults/results.jsonl $(if $(FAULTS),-run '$(FAULTS)')

faults-ci: build ## those that every change must pass (8 minutes)
	@scripts/setup ffmpeg redis-server mariadbd
	go run ./test/faults -ci

faults-node: ## a node that is full, lost or silent, a quota, an API server that is away, a Lease that is lost (Linux, root; 35 minutes); RUN=TestNodeFaults/NAME for one
	RUN='$(or $(RUN),TestNodeFaults)' scripts/cluster-test

bench: build ffmpeg ## Tonearm beside ffmpeg and curl: bench/results.json and docs/performance.md (20 minutes; Debian and root); BENCH='NAME…' for some
	@scripts/setup ffmpeg curl redis-server mariadbd
	go run ./bench $(BENCH); status=$$?; go run ./bench -report && exit $$status

images: ## container images tonearm/NAME:VERSION, with docker buildx or buildah; ARCHIVE=DIR saves them too
	@VERSION='$(VERSION)' scripts/images $(if $(ARCHIVE),--archive $(ARCHIVE))

cluster-test: ## Tonearm on a real Kubernetes node, installed with kubectl (Linux, root; 10 minutes more the first time); RUN=REGEXP for some tests of test/e2e
	scripts/cluster-test

scale-test: ## ten thousand conversions, KEDA beside Tonearm, a burst and short files on a real API server: bench/results.json and docs/performance.md (Linux, root; 45 minutes); BENCH='NAME…' for some
	scripts/scale-test $(BENCH); status=$$?; go run ./bench -report && (cd bench/plot && go run . ../scaling.csv ../../docs/scaling.png) && exit $$status

dashboards-test: ## every query of the dashboards on a real Prometheus that scrapes a mixed batch (2 minutes); DRAW=DIR draws the panels
	@scripts/setup ffmpeg prometheus
	cd dashboards && go test -count=1 . ./grafana
	cd dashboards && go test -count=1 -v -timeout 15m ./live $(if $(DRAW),-draw '$(abspath $(DRAW))')

lint: $(LINT) $(VULN) ## linters, module files, vulnerabilities where their database can be reached
	go mod tidy -diff
	@for m in test/ferretdb test/node kustomize/check dashboards bench/plot; do echo "cd $$m && go mod tidy -diff"; (cd $$m && go mod tidy -diff) || exit 1; done
	$(LINT) run ./...
	@scripts/long-files
	@scripts/vulnerabilities $(VULN)

# A Go program in the cache, by version.
define tool
	@mkdir -p $(CACHE)/bin/build.$$$$ && cd $(CACHE)/bin && GOBIN=$$PWD/build.$$$$ go install $(1)@$(2) && mv build.$$$$/* $@ && rmdir build.$$$$
endef

$(LINT):
	$(call tool,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,v2.15.0)

$(VULN):
	$(call tool,golang.org/x/vuln/cmd/govulncheck,v1.9.0)

clean: ## remove what make built (data in .tonearm/ stays)
	rm -rf bin out
