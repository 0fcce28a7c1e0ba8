# The first Python here that db-ally runs on; `make PYTHON=/path/to/python` takes another.
PYTHON := $(shell for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo "$$python" && break; done)
BIN := .venv/bin
OWN := hooks tests bench # the rest is Python only once it is baked
LINTED := scratch/check
WORKFLOWS := .github/workflows/ci.yml $(LINTED)/github/db-ally-file-handler/.github/workflows/ci.yml
DEMO := scratch/db-ally-file-handler
IN_DEMO := PYTHONPATH=src ../../$(BIN)/python

.PHONY: demo picture test test-all test-destinations bench bench-before mutants check format clean

demo: .venv/ready ## ask a real db-ally collection, and show what was recorded
	@rm -rf $(DEMO)
	@$(BIN)/cookiecutter --no-input --output-dir scratch . >/dev/null
	@cd $(DEMO) && $(IN_DEMO) examples/ask.py
	@cd $(DEMO) && echo && $(IN_DEMO) -m db_ally_file_handler list
	@cd $(DEMO) && echo && $(IN_DEMO) -m db_ally_file_handler show -1
	@cd $(DEMO) && echo && echo "The same request as text:" && echo
	@cd $(DEMO) && $(IN_DEMO) -m db_ally_file_handler show -1 --text | grep -v "^[0-9a-f]* |" # without long prompts
	@echo && echo "All of it is in $(DEMO)"

picture: .venv/ready ## draw the picture of both READMEs from what the example records
	$(BIN)/python -m bench.picture

test: .venv/ready check ## lint, types, and the tests for each commit: under three minutes
	$(BIN)/python -m pytest -n 2 -m "not matrix"

test-all: .venv/ready check ## those, and combinations of answers, Pythons, dependencies, coverage
	$(BIN)/python -m pytest -n 2

test-destinations: .venv/destinations ## run the pages of docs/ against servers that the tests start
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/destinations

bench: .venv/bench ## measure what a request costs, beside what people would pick instead; writes the figures of bench/README.md
	$(BIN)/python -m bench.peers

bench-before: .venv/ready ## measure what a request costs, beside what it cost before (make REV=... takes another revision)
	$(BIN)/python -m bench.before $(REV)

mutants: .venv/ready ## change the generated source in a thousand ways, and count which its tests notice
	@rm -rf scratch/mutants
	@$(BIN)/cookiecutter --no-input --accept-hooks no --output-dir scratch/mutants .
	@cp tests/mutmut.cfg scratch/mutants/db-ally-file-handler/setup.cfg
	@# mutmut calls each function through one of its own. These look at their callers, and would see that one instead.
	@cd scratch/mutants/db-ally-file-handler/src/db_ally_file_handler && sed -i -e '/def __del__/,/^$$/s/$$/  # pragma: no mutate/' \
		-e '/^def id_of_ask_frame/,/^def error_of_ask/s/$$/  # pragma: no mutate/' \
		-e '/^def error_ending_event/,/^def warn/s/$$/  # pragma: no mutate/' recorder.py failures.py
	cd scratch/mutants/db-ally-file-handler && ../../../$(BIN)/uv run --quiet --isolated --with 'mutmut>=3.8.1' mutmut run
	cd scratch/mutants/db-ally-file-handler && ../../../$(BIN)/uv run --quiet --isolated --with 'mutmut>=3.8.1' mutmut results

check: .venv/ready ## lint, types, pipelines; prints how densely the package is written
	@rm -rf $(LINTED)
	@set -e; for ci in github gitlab; do \
		$(BIN)/cookiecutter --no-input --output-dir $(LINTED)/$$ci . ci=$$ci >/dev/null; done
	$(BIN)/ruff format --check $(OWN)
	$(BIN)/ruff check $(OWN)
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	$(BIN)/check-jsonschema --builtin-schema vendor.gitlab-ci $(LINTED)/gitlab/db-ally-file-handler/.gitlab-ci.yml
	$(BIN)/zizmor --quiet --offline --persona pedantic $(WORKFLOWS)
	$(BIN)/python -m bench.density $(LINTED)/github/db-ally-file-handler/src

format: .venv/ready ## format the template's own Python
	$(BIN)/ruff format $(OWN)
	$(BIN)/ruff check --fix $(OWN)

clean: ## remove all that make made
	rm -rf .venv scratch uv.lock

.venv/ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "db-ally runs on Python 3.11, 3.12 and 3.13: none of them found (make PYTHON=/path/to/python takes yours)" >&2; exit 1; }
	@echo "Setting up .venv with $(PYTHON) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv sync --quiet
	@touch $@

.venv/destinations: .venv/ready
	@$(BIN)/uv sync --quiet --inexact --group destinations
	@touch $@

.venv/bench: .venv/ready
	@$(BIN)/uv sync --quiet --inexact --group bench
	@touch $@
