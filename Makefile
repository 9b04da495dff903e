# Every target sets up what it needs in .venv, once: the stamps beside it say what is installed.
# A fresh Debian or Ubuntu needs: python3 (3.11 or newer), python3-venv, python3-dev, gcc, make.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMPS := $(VENV)/.installed
# Nothing is compiled ahead: of twenty thousand modules a test run imports a fifth, and Python keeps what it compiled.
PIP    := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal
# Containers often say that Python keep no bytecode: hundreds of processes would each compile all that they import.
unexport PYTHONDONTWRITEBYTECODE
# Array libraries would otherwise start a thread pool in each of the test processes.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

.PHONY: demo test test-frameworks test-slow test-embedded test-rest test-numeric test-numeric-Haswell test-numeric-Nehalem test-processors tools check lint types bench bench-against wheel clean

demo: $(STAMPS)/runtime
	$(BIN)/lilliput demo

test: $(STAMPS)/test
	$(PYTEST) -m "not slow and not embedded"

# What torch, Stable-Baselines3 or transformers is the oracle of, without its slow tests.
test-frameworks: $(STAMPS)/frameworks $(STAMPS)/test
	$(PYTEST) -m "frameworks and not slow and not embedded"

# Everything slow: simulations, sanitizers, kills.
test-slow: $(STAMPS)/frameworks $(STAMPS)/test
	$(PYTEST) -m "slow and not embedded"

# Cross compilers and emulators come from Debian, where this may install them; without them the tests skip, saying so.
EMBEDDED := gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-dev qemu-system-arm \
	gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user \
	gcc-avr avr-libc simavr arduino-builder arduino-core-avr arduino-ctags
tools:
	@( for tool in arm-none-eabi-gcc arm-none-eabi-g++ qemu-system-arm riscv64-unknown-elf-gcc qemu-system-riscv32 \
		aarch64-linux-gnu-gcc qemu-aarch64 avr-gcc simavr arduino-builder; do command -v $$tool > /dev/null || exit 1; done; \
		test -e /usr/aarch64-linux-gnu/include/stdio.h && test -e /usr/share/arduino/hardware/arduino/avr ) \
	|| { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends $(EMBEDDED); } \
	|| echo "not all tools are there and they could not be installed: apt install $(EMBEDDED)"

test-embedded: tools $(STAMPS)/test
	$(PYTEST) -m embedded -rs

# All that neither `make test` nor a lesser processor is asked for. Much of it waits for children, emulators and Ray: three at once.
test-rest: tools $(STAMPS)/frameworks $(STAMPS)/test
	$(PYTEST) -n 3 tests -m "slow or frameworks or embedded" -rs

# What is numeric, once more with the kernels that numpy, OpenBLAS and the C library have for lesser processors;
# without torch, which .ci/run installs meanwhile. How a report shares its work among processes is no question of these.
NUMERIC := tests/test_sums.py tests/statistics tests/report/test_decisions.py tests/policies/test_reference.py tests/policies/test_affine.py \
	tests/policies/export/test_golden.py tests/policies/export/test_requantize.py tests/policies/compress/test_quantize.py
ON_LESSER := test-numeric-Haswell test-numeric-Nehalem
test-numeric: $(ON_LESSER)
$(ON_LESSER): test-numeric-%: $(STAMPS)/test
	$(BIN)/python tests/processors.py $* $(NUMERIC) -m "not slow and not embedded and not frameworks" -k "not process"

# The same decisions on every processor: the above, and the artifacts under emulated ones.
test-processors: test-numeric tools
	$(PYTEST) -m embedded tests/test_processors.py -rs

check: lint types

lint: $(STAMPS)/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

# The type checker reads the frameworks' types too.
types: $(STAMPS)/dev $(STAMPS)/test $(STAMPS)/frameworks
	$(BIN)/pyrefly check

# Beside whichever other runtimes are installed in .venv; make bench PEERS="torch ai_edge_litert" chooses.
bench: $(STAMPS)/test $(STAMPS)/frameworks
	$(BIN)/python benchmarks/environment_steps.py
	$(BIN)/python benchmarks/latency.py --rounds 9 $(if $(PEERS),--peers $(PEERS))

# The same rows by this tree and by another checkout, in turn: make bench-against OTHER=../before
bench-against: $(STAMPS)/test
	$(BIN)/python benchmarks/against.py $(OTHER)

wheel: $(STAMPS)/dev
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) build dist

$(STAMPS)/python:
	@echo "Setting up $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/runtime: $(STAMPS)/python pyproject.toml constraints.txt
	@echo "Installing Lilliput with MuJoCo and Box2D (about 250 MB, a minute or two)"
	$(PIP) --editable '.[mujoco,box2d]'
	@touch $@

# Lilliput stands there now: what more of it is wanted is asked for by name, and nothing is built a second time.
$(STAMPS)/test: $(STAMPS)/runtime
	@echo "Installing what the tests need"
	$(PIP) 'lilliput[atari,report,store,test]'
	@touch $@

$(STAMPS)/dev: $(STAMPS)/runtime
	@echo "Installing the linters and the type checker"
	$(PIP) 'lilliput[dev]'
	@touch $@

# Torch first and alone, so that its version is decided by nothing else.
$(STAMPS)/frameworks: $(STAMPS)/runtime
	@echo "Installing torch, Stable-Baselines3, transformers and Ray"
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) 'lilliput[frameworks,ray]'
	@echo "Importing them once, so that not each of the test processes compiles them"
	$(BIN)/python -c 'import ray, sb3_contrib, stable_baselines3, torch, transformers'
	@touch $@
