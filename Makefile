# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
#
# Entry point for users. Every target does its own set-up below build/ and reuses what exists there.

.DEFAULT_GOAL := help
SCENARIO ?=
# Shape of the embedded lab: debian or el.
SHAPE ?=

.PHONY: help audit awx-check ee harden drill lab lab-down bench test proof soak lint sanity unit docs clean venv venv-test python3

# Any python3 can make the environments; Debian's own is asked first, since a name on PATH may be an empty shim.
APT := $(if $(filter 0,$(shell id -u)),,sudo) apt-get
SETUP := $(firstword $(wildcard /usr/bin/python3) python3) tests/tools/environment.py
PYTHON := build/venv/bin/python

# Where the hypervisors are. Without it the embedded lab is started and used.
INVENTORY ?= build/lab/inventory/hosts.yml

export PATH := $(CURDIR)/build/venv/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/build/collections
export LC_ALL := C.UTF-8

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

# Which hosts a long run waits for.
audit harden: export ANSIBLE_CALLBACKS_ENABLED := svirt.fleet.progress

audit: venv ## Audit the hypervisors of INVENTORY=file, or of the embedded lab
ifeq ($(origin INVENTORY),file)
	@$(PYTHON) -m tests.lab up --install $(if $(SHAPE),--shape $(SHAPE))
endif
	@ansible-playbook svirt.fleet.audit -i $(INVENTORY) -e svirt_report_dir=$(CURDIR)/build/report -e svirt_store=sqlite:///$(CURDIR)/build/fleet.db

harden: venv ## Harden the hypervisors of INVENTORY=file, or of the embedded lab (there without the soak for denials)
ifeq ($(origin INVENTORY),file)
	@$(PYTHON) -m tests.lab up --install $(if $(SHAPE),--shape $(SHAPE))
	@ansible-playbook svirt.fleet.harden -i $(INVENTORY) -e svirt_report_dir=$(CURDIR)/build/report -e svirt_store=sqlite:///$(CURDIR)/build/fleet.db -e selinux_soak_seconds=0
else
	@ansible-playbook svirt.fleet.harden -i $(INVENTORY) -e svirt_report_dir=$(CURDIR)/build/report -e svirt_store=sqlite:///$(CURDIR)/build/fleet.db
endif

drill: venv ## Show the breach on the embedded lab, repair it, show that every attempt is refused
	@$(PYTHON) -m tests.lab up --install $(if $(SHAPE),--shape $(SHAPE))
	@$(PYTHON) -m tests.drill

lab: venv ## Start two enforcing hypervisors (SHAPE=el: in the shape of EL) and write an inventory for them
	@$(PYTHON) -m tests.lab up --install $(if $(SHAPE),--shape $(SHAPE))

lab-down: ## Stop the lab that `make lab` started
	@$(PYTHON) -m tests.lab down

bench: venv ## Measure the probe and the audit against alternatives
	@$(PYTHON) -m tests.bench

test: venv-test ## Everything that CI runs, with one scenario besides `default` (SCENARIO=name selects it)
	@$(SETUP) importer schemas
	@$(PYTHON) -m tests.store.postgres
	@$(PYTHON) -m tests.browser.chromium
	@$(PYTHON) -m tests.tools.checks test $(if $(SCENARIO),--scenario $(SCENARIO))

proof: venv-test ## All scenarios and everything else, before a release; writes build/proof.json
	@$(SETUP) importer schemas python39
	@$(PYTHON) -m tests.store.postgres
	@$(PYTHON) -m tests.browser.chromium
	@$(PYTHON) -m tests.tools.checks proof

soak: venv-test ## Scenarios, ledger and fuzz tests in full: every fault by itself, many kills; takes hours
	@$(PYTHON) -m tests.store.postgres
	@$(PYTHON) -m tests.tools.checks soak

lint: venv-test ## Formatting, types, style, docs, changelog, licences
	@$(PYTHON) -m tests.tools.checks lint

sanity: venv-test ## ansible-test sanity, on a clean copy of the checkout
	@$(PYTHON) -m tests.tools.checks sanity

unit: venv-test ## Unit and property tests
	@$(PYTHON) -m pytest

docs: venv-test ## Generate the references from the code; build the collection's documentation in build/docsite and lint it
	@$(PYTHON) -m tests.tools.reference
	@mkdir -p build/docsite
	@antsibull-docs collection --use-current --squash-hierarchy --fail-on-error --cleanup everything \
		--dest-dir build/docsite svirt.fleet
	@antsibull-docs lint-collection-docs --plugin-docs --check-extra-docs-refs --validate-collection-refs self .

ee: venv ## Write the build context of the execution environment into build/ee, for `ansible-builder build`
	@$(SETUP) awx
	@ansible-galaxy collection build --force --output-path build/ee
	@mv build/ee/svirt-fleet-*.tar.gz build/ee/svirt-fleet.tar.gz
	@build/venv-awx/bin/ansible-builder create --context build/ee/context

awx-check: venv ## Run the playbooks as AWX runs them: ansible-runner, sliced jobs, PostgreSQL; validate awx_setup and the EE
	@$(SETUP) awx
	@$(PYTHON) -m tests.store.postgres
	@build/venv-awx/bin/python -m pytest tests/awx

clean: ## Stop the lab and remove build/
	@test ! -x $(PYTHON) || $(PYTHON) -m tests.lab down
	@rm -rf build

venv: python3
	@$(SETUP) audit

venv-test: python3
	@$(SETUP) audit test nox

# A fresh Debian may have no Python at all.
python3:
	@command -v $@ >/dev/null || { $(APT) update && $(APT) install --yes --no-install-recommends python3-venv; }
