# For work on the code; ./run and ./test need none of this.
# Every target expects the virtual environment that ./test makes.

bin := .venv/bin
locked := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"

.PHONY: help fmt lint type test golden docs site dashboards rules bench bench-dashboards pictures faults alerts-live fleet newest soak check lab-up lab-down lock audit release deb rpm packages-test image images-test kubernetes-test ansible-test

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile

fmt: ## format the code
	$(bin)/ruff format .

lint: ## format and style, changing nothing
	$(bin)/ruff format --check .
	$(bin)/ruff check .

type: ## types
	$(bin)/mypy

test: ## everything that ./test runs, after installing what it needs
	./test

golden: ## write the recorded hosts' expositions anew
	$(bin)/python -m tests.contract.golden

docs: ## write the generated documentation anew
	$(bin)/python -m docs.build

site: ## build the documentation as a site in build/site
	$(bin)/python -m sphinx -W -q -c docs . build/site

dashboards: ## write the Grafana dashboards anew
	$(bin)/python -m dashboards.build
	$(bin)/python -m deploy.needs

rules: ## write the Prometheus rules anew, and the dashboards with their thresholds
	$(bin)/python -m deploy.prometheus.build
	$(bin)/python -m dashboards.build
	$(bin)/python -m deploy.needs

bench: ## cost of a scrape, beside a raw bulk call
	$(bin)/python -m tests.bench

bench-dashboards: ## time of the dashboards' queries over 10,000 invented VMs, some minutes
	$(bin)/python -m tests.bench.dashboards

pictures: ## draw the pictures of the dashboards anew, from 15 minutes of the invented host
	cd dashboards/pictures && npm install --no-audit --no-fund --legacy-peer-deps --ignore-scripts
	$(bin)/python -m dashboards.pictures.record
	$(bin)/python -m dashboards.pictures.draw

faults: ## what happens when things go wrong
	$(bin)/pytest tests/faults

fleet: ## one exporter of 50 hosts, 5 of them dead or frozen
	$(bin)/python -m tests.faults.fleet

alerts-live: ## real guests in trouble, and what Alertmanager delivers; what ./test has no time for, as root
	$(bin)/pytest tests/lab/test_alerts.py tests/lab/alerts_live.py

newest: ## the lab and the faults with the newest libvirt and QEMU, as root
	tests/newest.sh

soak: ## many scrapes beside many changes, for leaks
	$(bin)/python -m tests.faults.soak

check: lint type ## what needs no daemon and no time: the quick round before a commit
	$(bin)/pytest --hypothesis-profile=dev tests/unit tests/project tests/contract

lab-up: ## start a private libvirtd with guests, to look at
	$(bin)/python -m tests.lab up

lab-down: ## stop it
	$(bin)/python -m tests.lab down

lock: ## pin the newest libraries that pyproject.toml allows
	$(bin)/uv pip compile $(locked) --output-file requirements.lock pyproject.toml
	$(bin)/uv pip compile $(locked) --group dev --group packages --output-file requirements-dev.lock pyproject.toml
	$(bin)/uv pip compile $(locked) --group packages --output-file deploy/packages/tools.lock

audit: ## look up known vulnerabilities of the pinned libraries; fails where the index has no such service
	$(bin)/uvx 'pip-audit>=2.10,<3' --strict --progress-spinner off --require-hashes --disable-pip \
		--requirement requirements.lock

release: ## build what is published of a tag, TAG=v1.2.3, in dist/
	deploy/release.sh $(TAG)

deb: ## build the Debian package of the commit that is checked out, in dist/; SUITE=trixie for that one
	deploy/packages/deb.sh $(SUITE)

rpm: ## build the RPM package of the commit that is checked out, in dist/; PYTHON=3.14 for Fedora 43
	deploy/packages/rpm.sh $(PYTHON)

packages-test: ## as root: install, run, upgrade and purge the packages in bare roots, for SUITES
	$(bin)/pytest tests/deploy/bare_roots.py tests/deploy/rpm.py tests/deploy/older_libraries.py
	for suite in bookworm sid; do SUITE=$$suite $(bin)/pytest tests/lab/test_bare_system.py -k readme || exit; done

image: ## build the container image of the commit that is checked out
	deploy/container/build.sh

images-test: ## as root: build the image on a base made by mmdebstrap, and run it beside a libvirtd
	$(bin)/pytest tests/deploy/image.py

kubernetes-test: ## read the resources of the Prometheus operator by its own types
	PATH=$(bin):$$PATH $(bin)/pytest tests/deploy/operator.py

ansible-test: ## as root: ansible-lint, and the role on a root file system, also booted
	PATH=$(bin):$$PATH $(bin)/pytest tests/deploy/role.py
