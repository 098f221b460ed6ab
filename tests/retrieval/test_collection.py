import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.evaluation.scoring import score_matrix
from hslm_tf.models.hubness import HubCorrection
from hslm_tf.retrieval.collection import Collection
from hslm_tf.retrieval.indexes.brute_force import BruteForceIndex
from tests.tiny_collection import (
    QUERIES,
    assert_hits,
    build,
    make_dataset,
    make_model,
)


def exhaustive(model, dataset, captions):
    regions, mask = dataset.read_images(np.arange(dataset.num_images))
    return model.score(regions, captions, mask, matrix=True).numpy()


@pytest.mark.parametrize("num_candidates", [None, 1000])
def test_search_equals_exhaustive_scoring(collection, model, dataset, num_candidates):
    scores = exhaustive(model, dataset, QUERIES)
    for query, hits in enumerate(collection.search(QUERIES, 5, num_candidates)):
        assert_hits(hits, scores[:, query], dataset.image_ids, 5)
    scores = score_matrix(model, dataset)
    for image, hits in zip(
        (3, 7), collection.search_by_image(["im3", "im7"], 8, num_candidates), strict=True
    ):
        assert_hits(hits, scores[image], dataset.captions, 8)
    regions, mask = dataset.read_images(np.array([7]))
    (hits,) = collection.search_by_image(regions, 8, num_candidates, region_mask=mask)
    assert_hits(hits, scores[7], dataset.captions, 8)
    found = collection.search_by_image(tf.constant(regions), 8, num_candidates, region_mask=mask)
    assert found == [hits]


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


def test_only_the_candidates_are_scored(collection, model, dataset):
    scores = exhaustive(model, dataset, QUERIES)
    vectors = collection.heads.text_vectors(model.encode_text(QUERIES))
    for query, hits in enumerate(collection.search(QUERIES, 2, num_candidates=4)):
        listed = np.argsort(-(collection.encoded.vectors @ vectors[query]))[:4]
        order = listed[np.argsort(-scores[listed, query])][:2]
        assert [hit.row for hit in hits] == order.tolist()


def test_vectors_are_means_of_real_features(collection, model, dataset):
    images = model.encode_image(*dataset.read_images(np.arange(12)))
    texts = model.encode_text(dataset.captions)
    for vectors, local, mask in (
        (collection.encoded.vectors, images["regions"], images["region_mask"]),
        (collection.encoded.caption_vectors, texts["words"], texts["word_mask"]),
    ):
        rows = zip(local.numpy(), np.asarray(mask), strict=True)
        means = np.stack([values[real].mean(axis=0) for values, real in rows])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        np.testing.assert_allclose(vectors, means, atol=1e-6)


def test_float16_moves_scores_little(model, dataset):
    collection = build(model, dataset, "float16")
    assert collection.encoded.images.regions.dtype == np.float16
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
    images = [collection.ids[image] for image in collection.encoded.caption_to_image]
    assert images == [id_ for id_ in ids for _ in range(3)]
    boxes = np.concatenate([dataset.boxes, more.boxes])[kept]
    boxes[~collection.encoded.images.region_mask] = 0
    np.testing.assert_array_equal(collection.encoded.boxes[:], boxes)


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


REFUSED = {
    "there already": (lambda c: c.add(make_dataset()), "has this image already. Received: 'im0'"),
    "unknown": (lambda c: c.remove(["im1", "nobody"]), "no such image. Received: 'nobody'"),
    "all": (lambda c: c.remove(c.ids), "at least one image"),
    "no words": (lambda c: c.search(["a dog", "  "]), "A caption has no words. Received: '  '"),
    "a string": (lambda c: c.search("a dog"), "list of strings"),
    "no captions": (lambda c: c.search([]), r"captions=\[\]"),
    "k": (lambda c: c.search(["a dog"], 0), "k=0"),
    "candidates": (lambda c: c.search(["a dog"], 1, 0), "num_candidates=0"),
    "unknown query": (lambda c: c.search_by_image(["x"]), "no such image. Received: 'x'"),
    "width": (lambda c: c.search_by_image(np.ones((1, 6, 5), np.float32)), "12"),
    "rank": (
        lambda c: c.search_by_image(np.ones((12, 12), np.float32)),
        r"\[images, regions, 12\].*\(12, 12\)",
    ),
    "not finite": (
        lambda c: c.search_by_image(np.full((1, 6, 12), np.nan, np.float32)),
        "must be finite",
    ),
    "no region": (
        lambda c: c.search_by_image(
            np.ones((2, 6, 12), "f4"), 1, 1, np.repeat([[True], [False]], 6, 1)
        ),
        "Received: none in image 1 of 2",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_are_refused(collection, case):
    mistake, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        mistake(collection)
    assert len(collection) == 12


def test_padding_of_a_query_does_not_count(collection):
    images = np.ones((2, 6, 12), np.float32)
    images[1, 4] = np.nan
    mask = np.arange(6) < np.array([[6], [4]])
    padded = np.where(mask[..., None], images, 7)
    found, expected = (collection.search_by_image(x, 4, None, mask) for x in (images, padded))
    assert found == expected and np.isfinite([hit.score for hits in found for hit in hits]).all()


def test_indexes_are_filled_again_after_a_change(collection):
    sizes = []

    class Spy(BruteForceIndex):
        def index(self, vectors, ids=None):
            sizes.append(len(vectors))
            return super().index(vectors, ids)

    collection.use_index(lambda side: Spy())
    for _ in range(2):
        collection.search(QUERIES)
    collection.search_by_image(["im0"])
    collection.remove(["im0"])
    collection.search(QUERIES)
    assert sizes == [12, 36, 11]


@pytest.fixture(scope="module")
def hubs(model):
    bank = make_dataset(6, seed=9)
    return HubCorrection(model, bank, neighbours=2)


def test_scores_of_hubs_are_corrected_in_every_search(model, dataset, hubs, tmp_path):
    images, captions = hubs.of_dataset(dataset)
    collection = build(model, dataset, hubs=hubs)
    collection.save(tmp_path / "collection.h5")
    for searched in (collection, Collection.load(tmp_path / "collection.h5", model)):
        scores = exhaustive(model, dataset, QUERIES) - images[:, None]
        for query, hits in enumerate(searched.search(QUERIES, 5, None)):
            assert_hits(hits, scores[:, query], dataset.image_ids, 5)
        (hits,) = searched.search_by_image(["im3"], 8, None)
        assert_hits(hits, score_matrix(model, dataset)[3] - captions, dataset.captions, 8)


def test_hubness_follows_its_items(model, dataset, hubs, tmp_path):
    images, captions = hubs.of_dataset(dataset)
    collection = build(model, dataset.subset(0, 8), hubs=hubs)
    collection.add(dataset.subset(8, 12))
    np.testing.assert_allclose(collection.encoded.image_hubness, images, rtol=1e-5)
    collection.remove(["im2"])
    np.testing.assert_allclose(collection.encoded.image_hubness, np.delete(images, 2), rtol=1e-5)
    others = dataset.caption_to_image != 2
    np.testing.assert_allclose(collection.encoded.caption_hubness, captions[others], rtol=1e-5)
    collection.save(tmp_path / "collection.h5")
    loaded = Collection.load(tmp_path / "collection.h5", model)
    with pytest.raises(ValueError, match="corrects the scores of hubs.*Received: hubs=None$"):
        loaded.add(make_dataset(2, prefix="new"))
    loaded.hubs = hubs
    loaded.add(make_dataset(2, prefix="new"))
    assert len(loaded.encoded.image_hubness) == len(loaded) == 13


def test_images_without_captions_have_hubness_too(model, dataset, hubs):
    alone = dataclasses.replace(dataset, captions=[], caption_to_image=np.zeros(0, np.int32))
    collection = build(model, alone, hubs=hubs)
    images, _ = hubs.of_dataset(dataset)
    np.testing.assert_allclose(collection.encoded.image_hubness, images, rtol=1e-5)
    assert len(collection.encoded.caption_hubness) == 0
