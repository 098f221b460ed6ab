import numpy as np
import pytest

from hslm_tf.data.atomic_write import locked
from hslm_tf.retrieval.indexes import open_index
from hslm_tf.retrieval.indexes.brute_force import BruteForceIndex


def oracle(vectors, ids, queries, k):
    """Best ids by a loop in float64; of equal products the first item."""
    best = []
    for query in queries.astype(np.float64):
        products = vectors.astype(np.float64) @ query
        order = sorted(range(len(ids)), key=lambda row: (-products[row], row))
        best.append([ids[row] for row in order[:k]])
    return np.array(best)


@pytest.fixture(params=["brute-force", "faiss", "milvus"])
def index(request):
    if request.param == "milvus":
        return request.getfixturevalue("open_milvus")("hslm")
    if request.param == "faiss":
        pytest.importorskip("faiss", reason="the extra faiss is not installed")
    return open_index(request.param)


@pytest.fixture
def items():
    rng = np.random.default_rng(0)
    ids = rng.permutation(1000)[:300]
    return rng.normal(size=(300, 16)).astype(np.float32), ids, rng.normal(size=(7, 16))


def test_finds_what_a_loop_finds(index, items):
    vectors, ids, queries = items
    scores, found = index.index(vectors, ids).search(queries, 20)
    assert index.is_exact
    assert found.dtype == np.int64 and scores.dtype == np.float32
    np.testing.assert_array_equal(found, oracle(vectors, ids, queries, 20))
    rows = np.argsort(ids)[np.searchsorted(np.sort(ids), found)]
    expected = np.einsum("qd,qkd->qk", queries, vectors[rows])
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_k_beyond_the_items_finds_all(index, items):
    vectors, ids, queries = items
    _, found = index.index(vectors[:5], ids[:5]).search(queries, 50)
    assert found.shape == (7, 5)
    assert all(set(row) == set(ids[:5]) for row in found)


def test_index_replaces_what_was_there(index, items):
    vectors, ids, queries = items
    index.index(vectors, ids)
    _, found = index.index(vectors[::-1][:200], None).search(queries, 10)
    np.testing.assert_array_equal(found, oracle(vectors[::-1][:200], range(200), queries, 10))


@pytest.mark.parametrize(
    ("vectors", "ids", "message"),
    [
        (np.zeros((0, 4)), None, "one item at least"),
        (np.zeros(4), None, "one item at least"),
        (np.full((2, 4), np.nan), None, "finite"),
        (np.ones((2, 4)), [1, 1], "different"),
        (np.ones((2, 4)), [1, -1], "none negative"),
        (np.ones((2, 4)), [1], "2 different"),
    ],
)
def test_refuses_items(index, vectors, ids, message):
    with pytest.raises(ValueError, match=message):
        index.index(vectors, ids)


def test_refuses_queries(index):
    with pytest.raises(ValueError, match="Nothing is indexed"):
        index.search(np.ones((1, 4)), 1)
    index.index(np.eye(4))
    with pytest.raises(ValueError, match=r"queries must be \[queries, 4\]"):
        index.search(np.ones((1, 5)), 1)
    with pytest.raises(ValueError, match="k must be at least 1"):
        index.search(np.ones((1, 4)), 0)


def test_brute_force_breaks_ties_by_order_and_works_in_blocks(monkeypatch):
    rng = np.random.default_rng(1)
    # Small integers: products are exact, and many are equal.
    vectors, queries = rng.integers(-1, 2, (200, 3)), rng.integers(-1, 2, (9, 3))
    ids = rng.permutation(200)
    index = BruteForceIndex().index(vectors, ids)
    expected = oracle(vectors, ids, queries, 30)
    np.testing.assert_array_equal(index.search(queries, 30)[1], expected)
    monkeypatch.setattr("hslm_tf.retrieval.indexes.brute_force._BLOCK_PRODUCTS", 450)
    np.testing.assert_array_equal(index.search(queries, 30)[1], expected)


@pytest.fixture
def faiss_index():
    pytest.importorskip("faiss", reason="the extra faiss is not installed")
    from hslm_tf.retrieval.indexes.faiss_index import FaissIndex

    return FaissIndex


def test_faiss_inverted_lists_miss_little_and_say_so(faiss_index):
    rng = np.random.default_rng(2)
    vectors, queries = rng.normal(size=(2000, 8)), rng.normal(size=(20, 8))
    vectors -= vectors.mean(axis=0)
    expected = oracle(vectors, range(2000), queries, 10)

    def share(description, probes):
        index = faiss_index(description, probes).index(vectors)
        assert not index.is_exact
        ids = index.search(queries, 10)[1]
        return np.mean([len({*a} & {*b}) / 10 for a, b in zip(ids, expected, strict=True)])

    assert share("IVF16,Flat", 8) > 0.8
    # A rotation before the lists, and all lists: nothing is missed.
    assert share("PCA8,IVF16,Flat", 16) > 0.99
    # One list holds fewer than all: the row is filled up.
    scores, ids = faiss_index("IVF16,Flat", probes=1).index(vectors).search(queries, 2000)
    assert ids.shape == (20, 2000) and (ids[:, -1] == -1).all()
    assert (scores[:, -1] == -np.inf).all()


def test_faiss_refuses_descriptions(faiss_index):
    with pytest.raises(ValueError, match="no such index. Received: description='Nonsense'"):
        faiss_index("Nonsense").index(np.eye(4))
    with pytest.raises(ValueError, match="do not fill 16 inverted lists"):
        faiss_index("IVF16,Flat").index(np.eye(4))


@pytest.fixture
def open_milvus(tmp_path):
    """Opens collections in one Milvus, and closes them afterwards."""
    pytest.importorskip("pymilvus", reason="the extra milvus is not installed")
    pytest.importorskip("milvus_lite", reason="the extra milvus is not installed")
    opened = []

    def make(name):
        opened.append(open_index("milvus", str(tmp_path / "a.db"), name))
        return opened[-1]

    yield make
    for index in opened:
        index.close()


def test_a_file_of_milvus_that_another_process_holds(open_milvus, tmp_path, caplog):
    (tmp_path / "a.db").mkdir()
    with locked(tmp_path / "a.db" / "LOCK", "taken"):
        with pytest.raises(ConnectionError, match=r"at .*a.db: another process holds the lock"):
            open_milvus("photos")
    assert not caplog.records


def test_milvus_keeps_the_vectors_and_leaves_others_alone(open_milvus, items, monkeypatch):
    import pymilvus

    vectors, ids, queries = items
    open_milvus("other").index(vectors[:10])
    expected = open_milvus("photos").index(vectors, ids).search(queries, 10)[1]
    with monkeypatch.context() as patch:
        patch.setattr(pymilvus.MilvusClient, "upsert", lambda *args: pytest.fail("sent again"))
        again = open_milvus("photos").index(vectors, ids)
        np.testing.assert_array_equal(again.search(queries, 10)[1], expected)
    again.index(vectors[:50])
    names = again._client.list_collections()
    assert sorted(name.rpartition("_")[0] for name in names) == ["other", "photos"]


def test_milvus_is_filled_in_parts(open_milvus, items):
    """By several clients, in any order, and some of it twice, as a cluster may do."""
    vectors, ids, queries = items
    indexes = [open_milvus("photos") for _ in range(2)]
    name = indexes[0].begin(vectors, ids)
    half = len(ids) // 2
    for index, rows in zip(indexes * 2, (slice(half, None), slice(half), slice(5)), strict=False):
        index.put(name, vectors[rows], ids[rows])
    indexes[0].put = None  # Nothing more is sent.
    found = indexes[0].index(vectors, ids).search(queries, 10)
    expected = BruteForceIndex().index(vectors, ids).search(queries, 10)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    # An incomplete collection is filled from the beginning.
    assert indexes[1].begin(vectors[:9]) != name
    indexes[1].put(indexes[1].begin(vectors[:9]), vectors[:2], np.arange(2))
    again = indexes[1].index(vectors[:9]).search(queries, 9)[1]
    assert sorted(again[0]) == list(range(9))


def test_open_index_refuses(tmp_path):
    for backend, uri in (("milvus", None), ("brute-force", "a.db"), ("faiss", "a.db")):
        with pytest.raises(ValueError, match="Milvus needs a uri"):
            open_index(backend, uri)
    with pytest.raises(ValueError, match="no such index. Received: backend='annoy'"):
        open_index("annoy")


@pytest.mark.parametrize(("backend", "module"), [("faiss", "faiss"), ("milvus", "pymilvus")])
def test_a_missing_extra_is_named(backend, module, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ImportError, match=rf"pip install hslm-tf\[{backend}\]"):
        open_index(backend, "a.db" if backend == "milvus" else None)
