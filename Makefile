# Two commands do everything on a machine with Python >= 3.11, git and make:
#   make figures   install, run the quick form of every experiment, draw every figure, print the table of claims
#   make test      install, lint, run the tests, build the wheel and import it outside the checkout
# and one adds to them, where there is no GPU (Linux x86-64, 700 MB on disk):
#   make gpu-lab   install a compiler for NVIDIA GPUs beside the environment; its tests then join `make test`
# Variables: PYTHON (interpreter), DATA=all (also fetch data sets above 1 MB), FORM=quick|default|paper, JOBS.

PYTHON ?= python3
DATA ?= cached
FORM ?= quick
JOBS ?= 2

VENV := .venv
PY := $(VENV)/bin/python
TAG := $(shell $(PYTHON) -c "import sys; print('py%d%d' % sys.version_info[:2])" 2>/dev/null)
PINS := configs/env/cpu-$(TAG).txt
CONSTRAIN := $(if $(wildcard $(PINS)),-c $(PINS))
comma := ,
# Kernels are compiled for TPUs in the tests; the compiler exists for this platform only.
TPU := $(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),$(comma)tpu)
PIP := $(PY) -m pip install -q --disable-pip-version-check $(CONSTRAIN)

.PHONY: figures test lint unit multi_device aot wheel test-all bench gpu-lab pins clean python

figures: $(VENV)/.figures
	$(PY) -m paper_figures.make --form=$(FORM) --recompute --data=$(DATA)

test: lint unit multi_device aot wheel
	@echo "Tested with $$($(PY) --version). Other interpreters: make test-all."

lint: $(VENV)/.test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

unit: $(VENV)/.test
	$(PY) -m pytest -q -n $(JOBS) --dist=loadfile --no-loadscope-reorder --durations=15

# Eight CPU devices and the TPU compiler are set up before JAX starts, so each has a process of its own.
multi_device: $(VENV)/.test
	$(PY) -m pytest -q -n $(JOBS) -m multi_device tests/multi_device

aot: $(VENV)/.test
	$(PY) -m pytest -q -n $(JOBS) -m "tpu_aot and not slow" --durations=10 tests/aot

wheel: $(VENV)/.test
	$(PY) tests/check_wheel.py

# The default tests once more under every other supported interpreter that is found.
test-all: test
	@for version in 3.11 3.12 3.13; do \
	  found=$$(command -v python$$version || true); \
	  if [ -z "$$found" ]; then echo "Python $$version: not found, not run."; \
	  elif [ "py$$(echo $$version | tr -d .)" = "$(TAG)" ]; then echo "Python $$version: run above."; \
	  else echo "Python $$version:"; $(MAKE) unit PYTHON=$$found VENV=.venv-$$version || exit 1; fi; done

bench: $(VENV)/.figures
	$(PIP) -e ".[bench]"
	$(PY) -m experiments.bench

# In a folder of its own, which only the compiling process sees: a GPU plug-in in the environment would be loaded by all.
GPU_LAB := $(VENV)-gpu-lab
gpu-lab: $(VENV)/.test
	rm -rf $(GPU_LAB)
	version=$$($(PY) -c "from importlib.metadata import version; print(version('jax'))") && \
	  $(PIP) --no-deps --target $(GPU_LAB) jax-cuda12-plugin==$$version jax-cuda12-pjrt==$$version nvidia-cuda-nvcc-cu12==12.9.86
	$(PY) -m pytest -q -m tpu_aot tests/aot/test_lab_gpu.py

# Exact versions for this interpreter, one file per accelerator: resolved, not installed.
pins: $(VENV)/.test
	$(PY) configs/env/pin.py

python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || { \
	  echo "Equipoise needs Python >= 3.11; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }

$(VENV)/.created: | python
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.figures: $(VENV)/.created setup.cfg pyproject.toml $(wildcard $(PINS))
	$(PIP) -e ".[cpu,figures]"
	@touch $@

$(VENV)/.test: $(VENV)/.figures
	$(PIP) -e ".[cpu,figures,test,dev$(TPU)]"
	@touch $@

clean:
	rm -rf $(VENV) $(GPU_LAB) .venv-3.* build dist *.egg-info
