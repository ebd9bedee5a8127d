# The two commands that matter: `make demo` and `make test`. The rest serve those who work on the house.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test bench check coverage fuzz format schema clean system-test-tools

# One environment serves the demo, the tests and the checks. It is made anew when pyproject.toml or what is compiled changes.
$(STAMP): pyproject.toml rtp/_fast.pxd rtp/_fast.pyx rtp/codec/_polyphase.pyx gateway/_fast.pyx
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Trunkline needs Python 3.11 or newer; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,pictures]' --group test --group check
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench || echo "pesq could not be built, which wants a C compiler with Python's headers: its tests will be left out"
	touch $@

demo: $(STAMP)
	$(BIN)/trunkline demo

# Real peers for the tests: SIPp, baresip, Kamailio, sipsak from Debian. Where one cannot be installed the test run names
# what it leaves out.
system-test-tools:
	@.ci/install-system-tools || echo "not all peers could be installed: the tests that need them will be left out"

# Two files at a time: most of the time is spent in waiting for real peers and real calls.
TEST_JOBS ?= 2
test: $(STAMP) system-test-tools
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile

# What calls cost on one core, as tables and pictures in bench-media/. It wants two cores, for five minutes.
bench: $(STAMP)
	$(BIN)/python -m benchmarks.media_calls --calls 10 100 200 400 500
	$(BIN)/python -m benchmarks.media_calls --calls 100 350 --srtp
	$(BIN)/python -m benchmarks.media_calls --calls 100 200 --pcm

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layering.py

# Signalling is covered line by line and branch by branch: below 98 % of sip/ this fails.
coverage: $(STAMP)
	COVERAGE_FILE=.coverage.sip $(BIN)/python -m coverage run --branch --source=sip -m pytest -q tests/sip --ignore=tests/sip/test_message_cost.py
	COVERAGE_FILE=.coverage.sip $(BIN)/python -m coverage report --skip-covered --show-missing --fail-under=98

# 240,000 mutated messages and 32,000 generated ones against the parser, with fixed seeds: four to five minutes of CPU.
FUZZ_JOBS ?= 2
fuzz: $(STAMP)
	TRUNKLINE_FUZZ=deep $(BIN)/python -m pytest -q -n $(FUZZ_JOBS) --dist load tests/sip/test_message_fuzz.py

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The JSON Schema for editors and the list of keys in the documentation, from the model itself.
schema: $(STAMP)
	$(BIN)/trunkline schema --output config/gateway.schema.json --reference docs/configuration.md

clean:
	rm -rf $(VENV) build dist *.egg-info
