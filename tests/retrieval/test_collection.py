import dataclasses
import os
import shutil
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.data.errors import DataError
from hslm_tf.fingerprint import model_fingerprint
from hslm_tf.model import HSLM
from hslm_tf.retrieval.caption_encodings import CaptionEncodings
from hslm_tf.retrieval.collection import Collection
from hslm_tf.retrieval.image_encodings import ImageEncodings
from hslm_tf.retrieval.indexes.brute_force import BruteForceIndex
from hslm_tf.retrieval.scoring import score_matrix
from hslm_tf.retrieval.shortlist import new_shortlist
from hslm_tf.retrieval.storage import room
from tests.tiny_collection import make_dataset, make_model
from tests.tiny_model import SIZES, WORDS, random_images

QUERIES = ["a red dog runs", "The cat sits on water.", "hat hat"]


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def dataset():
    return make_dataset()


def build(model, dataset, dtype="float32", **options):
    return Collection.build(model, dataset, dtype=dtype, **options)


@pytest.fixture
def collection(model, dataset):
    return build(model, dataset)


def assert_hits(hits, scores, items, k):
    """Hits are the best k of exhaustive scores, by an independent sort."""
    order = sorted(range(len(scores)), key=lambda row: (-scores[row], row))[:k]
    assert [hit.row for hit in hits] == order
    assert [hit.item for hit in hits] == [items[row] for row in order]
    np.testing.assert_allclose([hit.score for hit in hits], scores[order], atol=1e-5)


def assert_same(found, expected):
    """The same hits for every query, scores up to rounding."""
    assert [[hit[::2] for hit in hits] for hits in found] == [
        [hit[::2] for hit in hits] for hits in expected
    ]
    for hits, others in zip(found, expected, strict=True):
        np.testing.assert_allclose([h.score for h in hits], [h.score for h in others], atol=1e-5)


def exhaustive(model, dataset, captions):
    regions, mask = dataset.read_images(np.arange(dataset.num_images))
    return model.score(regions, captions, mask, matrix=True).numpy()


@pytest.mark.parametrize("shortlist", [None, 1000])
def test_search_equals_exhaustive_scoring(collection, model, dataset, shortlist):
    scores = exhaustive(model, dataset, QUERIES)
    for query, hits in enumerate(collection.search(QUERIES, 5, shortlist)):
        assert_hits(hits, scores[:, query], dataset.image_ids, 5)
    scores = score_matrix(model, dataset)
    for image, hits in zip(
        (3, 7), collection.search_by_image(["im3", "im7"], 8, shortlist), strict=True
    ):
        assert_hits(hits, scores[image], dataset.captions, 8)
    regions, mask = dataset.read_images(np.array([7]))
    (hits,) = collection.search_by_image(regions, 8, shortlist, region_mask=mask)
    assert_hits(hits, scores[7], dataset.captions, 8)


@pytest.mark.parametrize(
    "parts",
    [
        {"cross_attention": False, "local_alignment": False},
        {"global_alignment": False, "mgcn": False},
    ],
)
def test_ablated_models_search_too(parts, dataset):
    model = make_model(**parts)
    collection = build(model, dataset)
    scores = score_matrix(model, dataset)
    (hits,) = collection.search_by_image(["im2"], 8, None)
    assert_hits(hits, scores[2], dataset.captions, 8)
    (hits,) = collection.search([dataset.captions[4]], 8, None)
    assert_hits(hits, scores[:, 4], dataset.image_ids, 8)


def test_only_the_shortlist_is_scored(collection, model, dataset):
    scores = exhaustive(model, dataset, QUERIES)
    vectors = np.stack([v.mean(axis=0) for v in words_of(model, QUERIES)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for query, hits in enumerate(collection.search(QUERIES, 2, shortlist=4)):
        listed = np.argsort(-(collection.contents.vectors @ vectors[query]))[:4]
        order = listed[np.argsort(-scores[listed, query])][:2]
        assert [hit.row for hit in hits] == order.tolist()


def words_of(model, captions):
    texts = model.encode_text(captions)
    words, mask = texts["words"].numpy(), texts["word_mask"].numpy()
    return [words[row][mask[row]] for row in range(len(captions))]


def test_vectors_are_means_of_real_features(collection, model, dataset):
    regions, mask = dataset.read_images(np.arange(12))
    local = model.encode_image(regions, mask)["regions"].numpy()
    for row in range(12):
        mean = local[row][mask[row]].mean(axis=0)
        np.testing.assert_allclose(
            collection.contents.vectors[row], mean / np.linalg.norm(mean), atol=1e-6
        )
    for vector, words in zip(
        collection.contents.caption_vectors, words_of(model, dataset.captions), strict=True
    ):
        mean = words.mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)


def test_encoded_features_make_the_same_collection(collection, model, dataset):
    regions, mask = dataset.read_images(np.arange(12))
    images = ImageEncodings.of(model.encode_image(regions, mask), "float32")
    texts = CaptionEncodings.of(model.encode_text(dataset.captions), "float32")
    for given in (texts, None):
        made = Collection.from_encodings(
            model,
            images,
            given,
            ids=dataset.image_ids,
            captions=dataset.captions,
            caption_to_image=dataset.caption_to_image,
        )
        assert_same(made.search(QUERIES), collection.search(QUERIES))
        assert_same(made.search_by_image(["im4"]), collection.search_by_image(["im4"]))


def test_images_without_captions(collection, model, tmp_path):
    images = ImageEncodings.of(model.encode_image(*random_images32(12)), "float32")
    made = Collection.from_encodings(model, images)
    made.save(tmp_path / "a.h5")
    made = Collection.load(tmp_path / "a.h5", model, verify=True)
    assert made.captions == [] and made.ids == [str(row) for row in range(12)]
    found, expected = made.search(QUERIES), collection.search(QUERIES)
    assert [[hit.row for hit in hits] for hits in found] == [
        [hit.row for hit in hits] for hits in expected
    ]
    assert made.search_by_image(["3", "5"]) == [[], []]


def random_images32(count):
    regions, mask = random_images(count)
    return regions.astype(np.float32), mask


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
    images = ImageEncodings.of(model.encode_image(*random_images32(12)))
    with pytest.raises(ValueError, match=message):
        Collection.from_encodings(model, images, **parts)


def test_encodings_of_a_wrong_shape_are_refused(model):
    images = dict(model.encode_image(*random_images32(3)))
    with pytest.raises(ValueError, match=r"Received: regions.shape=\(3, 6, 16\), .*\(3, 5\)"):
        ImageEncodings.of({**images, "region_mask": images["region_mask"][:, :5]})
    with pytest.raises(ValueError, match="does not fit the storage type"):
        ImageEncodings.of({**images, "regions": images["regions"] * 1e6})
    texts = dict(model.encode_text(QUERIES))
    with pytest.raises(ValueError, match=r"`word_mask` \[captions, tokens\]. Received"):
        CaptionEncodings.of({**texts, "words": texts["words"][:2]})
    with pytest.raises(ValueError, match=r"`global` must be \[3, width\]"):
        CaptionEncodings.of({**texts, "global": texts["global"][:2]})


def test_heads_of_another_model_are_refused(model, dataset):
    heads = new_shortlist(16, 5, teacher=model_fingerprint(make_model(seed=1)))
    images = ImageEncodings.of(model.encode_image(*random_images32(3)))
    with pytest.raises(ValueError, match="distilled from another model"):
        Collection.build(model, dataset, heads)
    with pytest.raises(ValueError, match="distilled from another model"):
        Collection.from_encodings(model, images, shortlist=heads)


def test_a_spool_without_room_is_an_error_at_the_start(tmp_path):
    with pytest.raises(OSError, match="No space left|File too large"):
        room((2**40, 2**10), "float16", tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_file_replaced_while_it_is_opened_is_refused(collection, model, tmp_path, monkeypatch):
    collection.save(tmp_path / "a.h5")
    opened = h5py.File

    class Racing:
        def __enter__(self):
            # The mapped handle is of the old file, HDF5 opens the new one.
            shutil.copy(tmp_path / "a.h5", tmp_path / "b.h5")
            os.replace(tmp_path / "b.h5", tmp_path / "a.h5")
            self._file = opened(tmp_path / "a.h5", "r")
            return self._file

        def __exit__(self, *error):
            self._file.close()

    monkeypatch.setattr(h5py, "File", lambda *args: Racing())
    with pytest.raises(DataError, match="a.h5 was replaced while it was opened"):
        Collection.load(tmp_path / "a.h5", model)


def test_float16_moves_scores_little(model, dataset):
    collection = build(model, dataset, "float16")
    assert collection.contents.images.regions.dtype == np.float16
    scores = exhaustive(model, dataset, QUERIES)
    for query, hits in enumerate(collection.search(QUERIES, 12, None)):
        found = np.array([hit.score for hit in hits])
        np.testing.assert_allclose(found, scores[[h.row for h in hits], query], atol=5e-3)


def test_equal_scores_come_in_the_order_of_the_collection(collection, model, monkeypatch):
    score = model.score_encoded
    monkeypatch.setattr(
        model, "score_encoded", lambda *args, **options: tf.round(score(*args, **options))
    )
    rounded = np.round(exhaustive(model, make_dataset(), ["a dog"]))[:, 0]
    assert len(set(rounded)) < 6
    (hits,) = collection.search(["a dog"], 12)
    assert [hit.row for hit in hits] == sorted(range(12), key=lambda row: (-rounded[row], row))


def test_k_beyond_the_collection_gives_all(collection):
    assert {hit.item for hit in collection.search(["a dog"], 99)[0]} == set(collection.ids)
    assert len(collection.search_by_image(["im0"], 99)[0]) == 36


def test_add_and_remove(collection, model, dataset):
    more = make_dataset(4, seed=5, prefix="new")
    collection.search(QUERIES)
    collection.add(more)
    gone = ["im0", "im5", "new1"]
    collection.remove(gone)
    assert len(collection) == 13 and len(collection.captions) == 39
    scores = np.concatenate([exhaustive(model, part, QUERIES) for part in (dataset, more)])
    all_ids = dataset.image_ids + more.image_ids
    kept = [row for row, id_ in enumerate(all_ids) if id_ not in gone]
    ids = [all_ids[row] for row in kept]
    assert collection.ids == ids
    for query, hits in enumerate(collection.search(QUERIES, 13)):
        assert_hits(hits, scores[kept, query], ids, 13)
    captions = dataset.captions + more.captions
    assert collection.captions == [c for i, c in enumerate(captions) if i // 3 in kept]
    own = [collection.ids[image] for image in collection.contents.caption_to_image]
    assert own == [id_ for id_ in ids for _ in range(3)]
    boxes = np.concatenate([dataset.boxes, more.boxes])[kept]
    boxes[~collection.contents.images.region_mask] = 0
    np.testing.assert_array_equal(collection.contents.boxes[:], boxes)


def test_ids_of_added_images_can_be_given(collection, model, dataset):
    plain = dataclasses.replace(make_dataset(2, seed=5), image_ids=None)
    numbered = Collection.build(model, plain)
    with pytest.raises(ValueError, match="has this image already. Received: '0'"):
        numbered.add(plain)
    numbered.add(plain, ids=["a", "b"])
    assert numbered.ids == ["0", "1", "a", "b"]
    with pytest.raises(ValueError, match="`ids` must be 2"):
        numbered.add(plain, ids=["c"])
    assert len(numbered) == 4 and len(numbered.captions) == 12


def test_add_and_remove_refuse(collection, dataset):
    with pytest.raises(ValueError, match="has this image already. Received: 'im0'"):
        collection.add(dataset)
    with pytest.raises(ValueError, match="no such image. Received: 'nobody'"):
        collection.remove(["im1", "nobody"])
    with pytest.raises(ValueError, match="at least one image"):
        collection.remove(dataset.image_ids)
    assert len(collection) == 12


def test_queries_are_refused(collection):
    with pytest.raises(ValueError, match="A caption has no words. Received: '  '"):
        collection.search(["a dog", "  "])
    with pytest.raises(ValueError, match="list of strings"):
        collection.search("a dog")
    with pytest.raises(ValueError, match="captions=\\[\\]"):
        collection.search([])
    with pytest.raises(ValueError, match="k=0"):
        collection.search(["a dog"], 0)
    with pytest.raises(ValueError, match="shortlist=0"):
        collection.search(["a dog"], 1, 0)
    with pytest.raises(ValueError, match="no such image. Received: 'x'"):
        collection.search_by_image(["x"])
    with pytest.raises(ValueError, match="12"):
        collection.search_by_image(np.ones((1, 6, 5), np.float32))
    images = np.ones((2, 6, 12), np.float32)
    images[1, 4] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        collection.search_by_image(images)
    mask = np.arange(6) < np.array([[6], [4]])
    assert len(collection.search_by_image(images, region_mask=mask)) == 2
    with pytest.raises(ValueError, match="a region in every image"):
        collection.search_by_image(images, region_mask=mask & [[True], [False]])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_save_and_load(model, dataset, dtype, tmp_path):
    built = build(model, dataset, dtype, image_folder=tmp_path)
    built.add(make_dataset(3, seed=5, prefix="new"))
    built.remove(["im1"])
    path = tmp_path / "a.h5"
    built.save(path)
    loaded = Collection.load(path, model, verify=True)
    assert (loaded.ids, loaded.captions) == (built.ids, built.captions)
    assert loaded.image_folder == str(tmp_path)
    found, expected = loaded.contents, built.contents
    assert isinstance(found.images.regions._arrays[0], np.memmap)
    for name in ("vectors", "caption_vectors", "caption_to_image"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    for name in ("regions", "region_mask"):
        parts = getattr(found.images, name), getattr(expected.images, name)
        np.testing.assert_array_equal(*parts, name)
    assert_same(loaded.search(QUERIES, 14), built.search(QUERIES, 14))
    assert_same(loaded.search_by_image(["new2"], 9), built.search_by_image(["new2"], 9))
    # What was loaded can change and replace the file that it reads from.
    loaded.remove(["im2"])
    answers = loaded.search(QUERIES, 14)
    loaded.save(path)
    assert_same(loaded.search(QUERIES, 14), answers)
    assert_same(Collection.load(path, model).search(QUERIES, 14), answers)
    assert os.listdir(tmp_path) == ["a.h5"]


def test_local_features_may_lie_in_a_file_while_they_are_made(collection, model, dataset, tmp_path):
    built = build(model, dataset, spool=tmp_path)
    for rows in (built.contents.images.regions, built.contents.texts.words):
        assert isinstance(rows._arrays[0], np.memmap)
    assert os.listdir(tmp_path) == []
    assert_same(built.search(QUERIES), collection.search(QUERIES))
    assert_same(built.search_by_image(["im3"]), collection.search_by_image(["im3"]))
    built.save(tmp_path / "a.h5")
    assert_same(Collection.load(tmp_path / "a.h5", model).search(QUERIES), built.search(QUERIES))


def test_a_copy_of_the_model_is_the_model(collection, model, tmp_path):
    collection.save(tmp_path / "a.h5")
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(
        Collection.load(tmp_path / "a.h5", copy).search(QUERIES), collection.search(QUERIES)
    )


def test_another_model_is_refused(collection, tmp_path):
    collection.save(tmp_path / "a.h5")
    others = [make_model(seed=1), HSLM(ModelConfig(**SIZES), [*WORDS, "wolf"])]
    for other in others:
        with pytest.raises(ValueError, match="a.h5 was built with another model, "):
            Collection.load(tmp_path / "a.h5", other)
    with pytest.raises(DataError, match="was built with the run None: its model is not found"):
        Collection.load(tmp_path / "a.h5")


def test_broken_files_are_refused(collection, model, tmp_path):
    path = tmp_path / "a.h5"
    with pytest.raises(DataError, match="a.h5: there is no such file"):
        Collection.load(path, model)
    collection.save(path)
    data = path.read_bytes()
    for cut in (0, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(DataError, match="a.h5 cannot be read as a collection"):
            Collection.load(path, model)
    contents = collection.contents
    for part, values, verify in (
        ("vectors", contents.vectors, False),
        ("regions", contents.images.regions, True),
        ("words", contents.texts.in_order(), True),
    ):
        values = np.ascontiguousarray(values[:]).tobytes()
        damaged = bytearray(data)
        damaged[data.index(values) + len(values) // 2] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=f"a.h5:/{part} is damaged"):
            Collection.load(path, model, verify=verify)


def test_a_killed_save_leaves_the_old_file(collection, model, tmp_path):
    path = tmp_path / "a.h5"
    collection.save(path)
    before = path.read_bytes()
    script = f"""
import os
import numpy as np
from pathlib import Path
from hslm_tf.retrieval.checked_hdf5 import write_parts
class Deadly:
    shape, dtype = (8, 4), np.dtype("float32")
    def __len__(self): return 8
    def __getitem__(self, rows): os.kill(os.getpid(), 9)
write_parts(Path({str(path)!r}), {{"ids": ["x"], "vectors": Deadly()}}, {{}})
"""
    killed = subprocess.run([sys.executable, "-c", script], cwd=os.getcwd())
    assert killed.returncode == -9
    assert path.read_bytes() == before
    assert Collection.load(path, model, verify=True).ids == collection.ids


def test_a_failing_save_leaves_nothing_behind(collection, tmp_path, monkeypatch):
    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        collection.save(tmp_path / "a.h5")
    assert os.listdir(tmp_path) == []


def test_indexes_are_asked_again_after_a_change(collection):
    made = []

    class Spy(BruteForceIndex):
        def index(self, vectors, ids=None):
            made.append(len(vectors))
            return super().index(vectors, ids)

    collection.use_index(lambda side: Spy())
    for _ in range(2):
        collection.search(QUERIES)
    collection.search_by_image(["im0"])
    collection.remove(["im0"])
    collection.search(QUERIES)
    assert made == [12, 36, 11]
