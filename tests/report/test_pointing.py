import numpy as np
import pytest

from hslm_tf.config import ModelConfig
from hslm_tf.data import load_dataset
from hslm_tf.data.errors import DataError
from hslm_tf.models.hslm import HSLM
from hslm_tf.report import pointing
from hslm_tf.report.explanation import Explanation
from tests.tiny_model import SIZES, WORDS

# A dog in the upper left corner, a person in the lower right one, a fixed box around them both.
BOXES = [[0, 0, 0.4, 0.4], [0.6, 0.6, 1, 1], [0, 0, 1, 1], [0.1, 0.1, 0.3, 0.3]]
CLASSES, CONFIDENCES = [16, 0, -1, -1], [0.9, 0.8, 0, 0]
CAPTIONS = ["A dog sits on a boy", "the big dog", "a red hat", "the cat runs"]


def write(folder, classes=CLASSES, confidences=CONFIDENCES, images=2):
    np.save(folder / "dev_ims.npy", np.ones((images, 4, 12), np.float32))
    (folder / "dev_caps.txt").write_text("\n".join(CAPTIONS))
    for name, row in (("boxes", BOXES), ("box_class", classes), ("box_score", confidences)):
        np.save(folder / f"dev_{name}.npy", np.array([row] * images, np.float32))
    return load_dataset(folder, "dev")


@pytest.fixture(scope="module")
def model():
    return HSLM(ModelConfig(**SIZES), WORDS)


def looking_at(monkeypatch, regions):
    """Words attend to these regions, by their place in the caption."""

    class Fixed:
        def __init__(self, model):
            pass

        def explain(self, encoded, caption):
            words = caption.lower().split()
            attention = np.eye(4)[[regions.get(word, 2) for word in words]]
            return Explanation(words, np.ones(len(words)), attention)

    monkeypatch.setattr(pointing, "Explainer", Fixed)


def measured(folder, model, **changes):
    dataset = write(folder, **changes)
    return pointing.measure_pointing(model, dataset, pointing.read_detections(dataset))


def test_middles_on_an_object_of_the_class_are_right(tmp_path, model, monkeypatch):
    looking_at(monkeypatch, {"dog": 3, "boy": 0})
    found = measured(tmp_path, model)
    # The dog of both captions of the first image; the boy looks at the dog. No object is a cat.
    assert sorted(zip(found.words, found.right, strict=True)) == [
        ("boy", False),
        ("dog", True),
        ("dog", True),
    ]
    # Two of four regions lie on the dog: the one around both is too large.
    chances = dict(zip(found.words, found.chances, strict=True))
    assert chances == {"dog": 0.5, "boy": 0.25}
    looking_at(monkeypatch, {"dog": 2, "boy": 2})
    assert not measured(tmp_path, model).right.any(), "the whole image points at nothing"


@pytest.mark.parametrize(
    "change", [{"classes": [16, 16, -1, -1]}, {"confidences": [0.9, 0.3, 0, 0]}]
)
def test_a_class_alone_proves_nothing(tmp_path, model, monkeypatch, change):
    looking_at(monkeypatch, {})
    assert measured(tmp_path, model, **change).words == []


def test_table_ends_with_all_nouns(tmp_path, model, monkeypatch):
    looking_at(monkeypatch, {"dog": 3})
    table = pointing.pointing_table(measured(tmp_path, model), "runs/a")
    assert list(table.rows) == [
        ("dog", "2", "100.0", "50.0"),
        ("boy", "1", "0.0", "25.0"),
        ("all", "3", "66.7", "41.7"),
    ]
    assert table.title.endswith("runs/a")


def test_section_of_a_real_model(tmp_path, model):
    section = pointing.pointing_section(model, write(tmp_path))
    assert "3 nouns of 220 images at most" in section.body
    assert section.tables[0].rows[-1][1] == "3"


def test_without_detections_there_is_no_section(tmp_path, model):
    dataset = write(tmp_path)
    (tmp_path / "dev_box_class.npy").unlink()
    assert pointing.pointing_section(model, dataset) is None


def test_detections_must_fit_the_features(tmp_path):
    dataset = write(tmp_path)
    np.save(tmp_path / "dev_box_score.npy", np.ones((2, 3)))
    with pytest.raises(DataError, match=r"dev_box_score.npy has shape \(2, 3\), expected \(2, 4\)"):
        pointing.read_detections(dataset)
