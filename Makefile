PYTHON ?= python3
VENV ?= .venv
ARGS ?=

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: train test docs

train: $(VENV)/installed
	$(VENV)/bin/python -m hslm_tf.train $(ARGS)

test: $(VENV)/installed
	$(VENV)/bin/python -m pytest $(ARGS)

docs: $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet -e ".[docs]"
	$(VENV)/bin/python -m pdoc --docformat google --output-directory site hslm_tf

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet -e ".[test]"
	touch $@
