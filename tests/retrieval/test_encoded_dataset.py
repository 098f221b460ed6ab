"""The content of collections."""

import os

import numpy as np
import pytest

from hslm_tf.fingerprint import model_fingerprint
from hslm_tf.retrieval.collection import Collection
from hslm_tf.retrieval.encodings import CaptionEncodings, ImageEncodings, allocate
from hslm_tf.retrieval.projection_heads import new_heads
from tests.tiny_collection import (
    QUERIES,
    assert_same,
    build,
    make_model,
    random_images32,
)


def test_encoded_features_make_the_same_collection(collection, model, dataset):
    regions, mask = dataset.read_images(np.arange(12))
    images = ImageEncodings.from_encoding(model.encode_image(regions, mask), "float32")
    texts = CaptionEncodings.from_encoding(model.encode_text(dataset.captions), "float32")
    parts = {name: getattr(dataset, name) for name in ("captions", "caption_to_image")}
    for encoded in (texts, None):
        same = Collection.from_encodings(model, images, encoded, ids=dataset.image_ids, **parts)
        assert_same(same.search(QUERIES), collection.search(QUERIES))
        assert_same(same.search_by_image(["im4"]), collection.search_by_image(["im4"]))


def test_images_without_captions(collection, model, tmp_path):
    images = ImageEncodings.from_encoding(model.encode_image(*random_images32(12)), "float32")
    Collection.from_encodings(model, images).save(tmp_path / "a.h5")
    alone = Collection.load(tmp_path / "a.h5", model, verify=True)
    assert alone.captions == [] and alone.ids == [str(row) for row in range(12)]
    found, expected = alone.search(QUERIES), collection.search(QUERIES)
    assert [[hit.row for hit in hits] for hits in found] == [
        [hit.row for hit in hits] for hits in expected
    ]
    assert alone.search_by_image(["3", "5"]) == [[], []]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"ids": ["a"] * 12}, "Ids must differ. Received: 'a' twice"),
        ({"ids": ["a", "b"]}, r"`ids` must be 12. Received: len\(ids\)=2"),
        ({"captions": ["a dog"]}, r"`caption_to_image` must be 1. Received: len.*=0"),
        ({"captions": ["a dog"], "caption_to_image": [12]}, "rows of the 12 images. .*12 to 12"),
        ({"boxes": np.zeros((3, 6, 4))}, r"`boxes` must be 12"),
    ],
)
def test_parts_that_do_not_fit_are_refused(model, parts, message):
    images = ImageEncodings.from_encoding(model.encode_image(*random_images32(12)))
    with pytest.raises(ValueError, match=message):
        Collection.from_encodings(model, images, **parts)


def test_encodings_of_a_wrong_shape_are_refused(model):
    images = dict(model.encode_image(*random_images32(3)))
    with pytest.raises(ValueError, match=r"Received: regions.shape=\(3, 6, 16\), .*\(3, 5\)"):
        ImageEncodings.from_encoding({**images, "region_mask": images["region_mask"][:, :5]})
    with pytest.raises(ValueError, match="does not fit the storage type"):
        ImageEncodings.from_encoding({**images, "regions": images["regions"] * 1e6})
    texts = dict(model.encode_text(QUERIES))
    with pytest.raises(ValueError, match=r"`word_mask` \[n, words\]. Received"):
        CaptionEncodings.from_encoding({**texts, "words": texts["words"][:2]})
    with pytest.raises(ValueError, match=r"`text_global` must be \[3, width\]"):
        CaptionEncodings.from_encoding({**texts, "text_global": texts["text_global"][:2]})


def test_heads_of_another_model_are_refused(model, dataset):
    heads = new_heads(16, 5, teacher_fingerprint=model_fingerprint(make_model(seed=1)))
    images = ImageEncodings.from_encoding(model.encode_image(*random_images32(3)))
    with pytest.raises(ValueError, match="distilled from another model"):
        Collection.build(model, dataset, heads)
    with pytest.raises(ValueError, match="distilled from another model"):
        Collection.from_encodings(model, images, heads=heads)


def test_local_features_may_lie_in_a_file_while_they_are_made(collection, model, dataset, tmp_path):
    built = build(model, dataset, memmap_dir=tmp_path)
    for rows in (built.encoded.images.regions, built.encoded.texts.words):
        assert isinstance(rows._arrays[0], np.memmap)
    assert os.listdir(tmp_path) == []
    assert_same(built.search(QUERIES), collection.search(QUERIES))
    assert_same(built.search_by_image(["im3"]), collection.search_by_image(["im3"]))
    built.save(tmp_path / "a.h5")
    assert_same(Collection.load(tmp_path / "a.h5", model).search(QUERIES), built.search(QUERIES))


def test_a_spool_without_room_is_an_error_at_the_start(tmp_path):
    with pytest.raises(OSError, match="No space left|File too large"):
        allocate((2**40, 2**10), "float16", tmp_path)
    assert os.listdir(tmp_path) == []
