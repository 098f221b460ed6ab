"""From files of photographs to shards, with an extractor that is simple enough to check."""

import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.beam import photograph_source
from hslm_tf.beam.collecting import collect, write_rejected
from hslm_tf.beam.elements import shards_of
from hslm_tf.beam.files import read_shard
from hslm_tf.beam.photograph_source import PhotographList, PhotographSource
from hslm_tf.beam.running import encode
from hslm_tf.beam.work_folder import Plan, WorkFolder
from hslm_tf.data.errors import DataError
from hslm_tf.images.extractor import RegionFeatures
from hslm_tf.images.photographs import ImageError, decode_photograph
from tests.beam.bucket import address


class Halves:
    """The whole image and its two halves; their mean colours, four times over, are the features."""

    def extract(self, images, ids=None):
        for image in images:
            if len(image) == 1:
                raise ImageError("the photograph is one pixel high")
        boxes = np.float32([[0, 0, 1, 1], [0, 0, 1, 0.5], [0, 0.5, 1, 1]])
        parts = [(image, *np.split(image, 2)) for image in images]
        means = np.array([[part.mean(axis=(0, 1)) for part in three] for three in parts])
        features = np.tile(means.reshape(len(images), 3, 3), 4).astype(np.float32)
        counts = np.full(len(images), 3)
        return RegionFeatures(features, np.tile(boxes, (len(images), 1, 1)), counts)


@pytest.fixture
def photographs(tmp_path):
    """Nineteen photographs in two folders, and a file that is none."""
    rng = np.random.default_rng(0)
    for number in range(19):
        pixels = rng.integers(0, 255, (2 * rng.integers(1, 9), 7, 3))
        name = f"trip {number % 2}/bild-{number:02}-ü.{('PNG', 'png')[number % 2]}"
        tf.io.write_file(str(tmp_path / "photos" / name), tf.io.encode_png(pixels.astype("uint8")))
    (tmp_path / "photos" / "notes.txt").write_text("no photograph")
    return tmp_path / "photos"


@pytest.mark.parametrize("where", [str, address])
def test_a_list_gives_every_shard_its_names(photographs, tmp_path, where):
    path = where(tmp_path / "out" / "photographs.txt")
    listed = PhotographList.of_folder(where(photographs), path)
    expected = sorted(str(p.relative_to(photographs)) for p in photographs.glob("*/*"))
    assert len(listed) == 19
    found = [name for shard in shards_of(19, 4) for name in listed.names(shard)]
    assert found == expected
    (photographs / "aaa.jpg").write_bytes(b"later")
    again = PhotographList.of_folder(where(photographs), path)
    assert [again.names(shard) for shard in shards_of(19, 19)] == [expected]
    assert again.address("trip 0/a.png") == f"{where(photographs)}/trip 0/a.png"


def test_a_folder_without_photographs_is_refused(tmp_path):
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(DataError, match="holds no photograph"):
        PhotographList.of_folder(str(tmp_path), str(tmp_path / "list.txt"))
    (tmp_path / "a\nb.png").write_text("")
    with pytest.raises(DataError, match="is not one line"):
        PhotographList.of_folder(str(tmp_path), str(tmp_path / "list.txt"))


@pytest.mark.usefixtures("exported_before")
def test_photographs_become_shards(small, photographs, tmp_path, monkeypatch):
    """Good ones, and some of every kind of bad ones; of the last shard there is none left."""
    monkeypatch.setattr(photograph_source, "PHOTOGRAPHS_AT_ONCE", 3)
    names = sorted(str(path.relative_to(photographs)) for path in photographs.glob("*/*"))
    contents = [(photographs / name).read_bytes() for name in names]
    (photographs / names[2]).write_bytes(contents[2][:40])
    line = tf.io.encode_png(np.zeros((1, 5, 3), np.uint8))
    tf.io.write_file(str(photographs / names[8]), line)
    work = WorkFolder(str(tmp_path / "out"))
    listed = PhotographList.of_folder(str(photographs), f"{work.path}/photographs.txt")
    for row in (13, 15, 16, 17, 18):
        (photographs / names[row]).unlink()
    plan = Plan({"photographs": str(photographs)}, 19, 3, 5, "float32", "")
    encode(PhotographSource(listed, Halves), work, plan, *small[:2])

    kept = [row for row in range(19) if row not in (2, 8, 13, *range(15, 19))]
    features, boxes, _ = Halves().extract([decode_photograph(contents[row]) for row in kept])
    expected = small.model.encode_image(features, np.ones((12, 3), bool))
    found = collect(work, plan, *small[:2])
    assert found.ids == [names[row] for row in kept]
    np.testing.assert_allclose(found.images.regions[:], expected["regions"], atol=1e-6)
    np.testing.assert_allclose(found.vectors, small.heads.image_vectors(expected), atol=1e-6)
    np.testing.assert_array_equal(found.boxes[:], boxes)
    assert write_rejected(work, plan) == 7
    reasons = [
        str(reason)
        for shard in plan.shards
        for reason in read_shard(work.file_of(shard), ["rejected_reasons"])["rejected_reasons"]
    ]
    assert "PNG" in reasons[0]
    assert reasons[1] == "the photograph is one pixel high"
    assert all("No such file" in reason for reason in reasons[2:])
