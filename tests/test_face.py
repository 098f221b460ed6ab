"""What `import hslm_tf` gives."""

import doctest
import importlib
import inspect
import subprocess
import sys

import pytest

import hslm_tf
from hslm_tf.data.sample import load_sample
from hslm_tf.models.hslm import HSLM
from hslm_tf.presets import preset

NAMES = [*hslm_tf._MODULES, *hslm_tf._PACKAGES]


def test_importing_it_loads_neither_tensorflow_nor_numpy():
    script = "import sys, hslm_tf; print(*{'tensorflow', 'keras', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there(name):
    assert name in dir(hslm_tf)
    found = hslm_tf.__getattr__(name)
    assert inspect.ismodule(found) == (name in hslm_tf._PACKAGES)
    if name not in hslm_tf._PACKAGES:
        assert found.__name__ == name


def test_a_command_does_not_replace_the_function_of_the_same_name():
    command = importlib.import_module("hslm_tf.evaluate")
    assert inspect.ismodule(command) and command.main
    assert inspect.isfunction(hslm_tf.evaluate)


def test_other_names():
    with pytest.raises(AttributeError, match="nothing"):
        hslm_tf.nothing  # noqa: B018


def test_preset_with_changes():
    vocabulary = hslm_tf.build_vocabulary(["a dog", "a dog", "a cat"], min_count=2)
    assert vocabulary.words[4:] == ("a", "dog")
    for words in (vocabulary, vocabulary.words):
        model = hslm_tf.HSLM.from_preset("sample", words, joint_dim=8, word_dim=6)
        assert model.vocabulary == vocabulary.words
        assert (model.config.joint_dim, model.config.word_dim) == (8, 6)
        assert model.config.similarity_dim == preset("sample").model.similarity_dim
    with pytest.raises(ValueError, match="no such preset"):
        hslm_tf.HSLM.from_preset("nothing", vocabulary)


def documented() -> dict[str, str]:
    """Docstrings of the face, and of the public methods of its classes, that have an example."""
    found = {}
    for name in hslm_tf._MODULES:
        thing = hslm_tf.__getattr__(name)
        members = {name: thing}
        if inspect.isclass(thing):
            members |= {
                f"{name}.{key}": member
                for key, member in inspect.getmembers(thing, callable)
                if not key.startswith("_") and member.__module__.startswith("hslm_tf.")
            }
        for key, member in members.items():
            if "Example:" in (inspect.getdoc(member) or ""):
                found[key] = inspect.getdoc(member)
    return found


EXAMPLES = documented()


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name, whole_run, dataset_folder, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "runs/flickr8k").symlink_to(whole_run.path)
    (tmp_path / "data/flickr8k").symlink_to(dataset_folder)
    monkeypatch.chdir(tmp_path)
    # Another test may have imported the command of this name.
    monkeypatch.delitem(vars(hslm_tf), "evaluate", raising=False)
    dataset = hslm_tf.load_dataset("data/flickr8k", "test")
    names = {
        "hslm_tf": hslm_tf,
        "model": hslm_tf.load_model("runs/flickr8k"),
        "dataset": dataset,
        "captions": dataset.captions,
        "region_features": dataset.read_images([0])[0],
    }
    examples = doctest.DocTestParser().get_examples(EXAMPLES[name])
    assert examples
    for example in examples:
        exec(compile(example.source, name, "exec"), names)


def test_everything_in_the_face_has_an_example():
    assert set(hslm_tf._MODULES) <= set(EXAMPLES)
    methods = {"from_preset", "score", "score_encoded"}
    assert {f"HSLM.{name}" for name in methods} <= set(EXAMPLES)
    methods = {"build", "search", "search_by_image"}
    assert {f"Collection.{name}" for name in methods} <= set(EXAMPLES)


def test_sample_is_the_packaged_one():
    assert hslm_tf.load_sample is load_sample and hslm_tf.HSLM is HSLM
