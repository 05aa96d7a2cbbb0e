# Everything here sets itself up: `make demo` and `make test` need only make, Python >= 3.11 and a JDK >= 17 or Docker.
.PHONY: .venv demo serve test lint check bench bench-encode bench-quality bench-ingest bench-search bench-memory bench-train requirements clean
SHELL := /bin/bash
BIN := .venv/bin

.venv: .venv/.stamp

.venv/.stamp: requirements.txt pyproject.toml
	@for p in "$(PYTHON)" python3 python3.14 python3.13 python3.12 python3.11; do \
	  [ -n "$$p" ] && "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && found=$$p && break; \
	done; \
	if [ -z "$$found" ]; then echo "medte needs Python >= 3.11 with its venv module; install it or call: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
	echo "setting up .venv with $$found (a few minutes the first time)"; \
	"$$found" -m venv --clear .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[0-9.]*' requirements.txt)"
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --compile-bytecode requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: .venv
	$(BIN)/es-ingest demo

# A search page, REST API and MCP tool over MedQuAD's sample, or with ARGS="--es URL --index NAME" over an index of yours.
serve: .venv
	@exec $(BIN)/python examples/serve $(ARGS)

test: lint
	$(BIN)/pytest

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The scores of this project's own commands against those in eval/regression/checks.yaml: some five minutes on two cores.
CHECKED := results/check
check: .venv
	@$(BIN)/python eval/regression/exports.py $(CHECKED)/exports
	@$(BIN)/medte-eval build --tasks PmcDiagnosticVsTherapeuticClassification,MedQAPair --offline --quiet --again \
	  --data-dir $(CHECKED)/tasks --export pmc=$(CHECKED)/exports/pmc --export medqa=$(CHECKED)/exports/medqa
	MEDTE_EVAL_DATA=$(CHECKED)/tasks $(BIN)/medte-eval check eval/regression/checks.yaml $(ARGS)

bench: .venv
	$(BIN)/python -m bench

# Speed beside what people use today, by length of text, memory of a long stream, single queries: about an hour on two cores.
bench-encode: .venv
	$(BIN)/python -m bench.encode --table --lengths --stream --query --json results/encode.json --plot docs/encode.svg $(ARGS)

# What each precision costs in retrieval; SciFact with: make bench-quality ARGS="--scifact DIR".
bench-quality: .venv
	$(BIN)/python -m bench.quality --json results/quality.json $(ARGS)

# Training beside sentence-transformers' own trainer: some twenty minutes on two cores.
bench-train: .venv
	$(BIN)/python -m bench.train --json results/train.json $(ARGS)

# Peak memory of a hundred thousand and of a million short records from standard input: two minutes.
bench-memory: .venv
	$(BIN)/python -m bench.memory --json results/memory.json $(ARGS)

# Writing ready-made vectors beside what people use: some twenty minutes on two cores with ARGS="--documents 200000".
bench-ingest: .venv
	$(BIN)/python -m bench.ingest --json results/ingest.json $(ARGS)

# Searching beside Haystack's retrievers: half an hour on two cores with ARGS="--medquad FILE --scifact DIR".
bench-search: .venv
	$(BIN)/python -m bench.search --json results/search.json $(ARGS)

# Resolve the newest versions that pyproject.toml allows and pin them.
requirements: .venv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev --group bench --no-header --upgrade pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --upgrade bench/encode/peers-requirements.in -o bench/encode/peers-requirements.txt

clean:
	rm -rf .venv
