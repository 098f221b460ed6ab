import dataclasses
import json
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf import index, search
from hslm_tf.data.convert import convert
from hslm_tf.evaluation.scoring import score_matrix
from hslm_tf.models.hubness import HubCorrection, draw_bank
from hslm_tf.retrieval.collection import Collection
from hslm_tf.retrieval.projection_heads import read_heads
from hslm_tf.retrieval.rows import Rows
from hslm_tf.runs import opening, splits
from hslm_tf.runs.opening import open_collection
from tests.tiny_run import copy_of, fails, write_dataset

pytestmark = pytest.mark.usefixtures("loaded_once")

HEADS = "--steps 3 --dim 8 --concepts 8 --images-a-step 6 --captions-a-step 12".split()


@pytest.fixture(scope="module")
def run(whole_run, tmp_path_factory):
    """The run with heads and a collection, all made by the command."""
    run = copy_of(whole_run, tmp_path_factory.mktemp("searched") / "run")
    index.main([str(run.path), *HEADS])
    index.main(["collection", str(run.path), "--dtype", "float32"])
    return run


@pytest.fixture(scope="module")
def searched_split(run):
    return splits.load_split(run.config(), "test")


@pytest.fixture(scope="module")
def scores(run, searched_split):
    return score_matrix(keras.saving.load_model(run.best_model), searched_split)


def answers_of(args, capsys):
    capsys.readouterr()
    search.main([str(arg) for arg in [*args, "--json"]])
    return json.loads(capsys.readouterr().out)


def test_json_answers_are_the_exact_best(run, scores, searched_split, capsys):
    captions = [searched_split.captions[7], searched_split.captions[31]]
    found = answers_of([run.path, *captions, "-k", "4"], capsys)
    assert [row["query"] for row in found] == captions
    for row, caption in zip(found, (7, 31), strict=True):
        order = np.argsort(-scores[:, caption], kind="stable")[:4]
        assert images_of(row) == [str(i) for i in order]
        found = [answer["score"] for answer in row["answers"]]
        np.testing.assert_allclose(found, scores[order, caption], atol=1e-5)
        for image, answer in zip(order, row["answers"], strict=True):
            assert answer["captions"] == searched_split.captions[5 * image : 5 * image + 5]


def images_of(row):
    return [answer["image"] for answer in row["answers"]]


def test_the_other_way_and_from_the_file(run, scores, searched_split, capsys):
    (row,) = answers_of(["by-image", run.collection, "5", "-k", "6"], capsys)
    order = np.argsort(-scores[5], kind="stable")[:6]
    found = [answer["caption"] for answer in row["answers"]]
    assert found == [searched_split.captions[i] for i in order]
    assert images_of(row) == [str(i // 5) for i in order]


def test_table_and_gallery(run, searched_split, tmp_path, capsys, monkeypatch):
    """Boxes, thumbnails and words that look like HTML and like rich's markup."""
    monkeypatch.setenv("COLUMNS", "200")
    model = keras.saving.load_model(run.best_model)
    collection = Collection.load(run.collection, model)
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 0.5, (12, 6, 2))
    boxes = np.concatenate([corners, corners + 0.4], axis=-1).astype(np.float32)
    nasty = "<script>alert('x')</script> [bold]"
    encoded = dataclasses.replace(
        collection.encoded,
        boxes=Rows([boxes]),
        ids=[nasty, *collection.ids[1:]],
        captions=[nasty, *collection.captions[1:]],
    )
    file, images = tmp_path / "a.h5", tmp_path / "images"
    Collection(model, collection.heads, encoded, run=run.path).save(file)
    for name in ("1.jpg", "3.jpg"):
        pixels = tf.constant(rng.integers(0, 255, (300, 500, 3)), tf.uint8)
        tf.io.write_file(str(images / name), tf.io.encode_jpeg(pixels))
    (images / "4.jpg").write_text("not an image")

    def page_of(args):
        search.main([str(arg) for arg in [*args, "--images", images, "--html", tmp_path / "page"]])
        return (tmp_path / "page").read_text("utf-8")

    page = page_of([file, f"a photo & {nasty}", "-k", "12"])
    assert nasty in capsys.readouterr().out
    assert "<script" not in page and "http" not in page
    assert page.count('<figure class="hit"') == 12
    assert page.count("data:image/jpeg;base64,") == page.count("<image") == 2
    # Without a photograph an image is drawn at four to three.
    sizes = set(re.findall('viewBox="(.*?)"', page))
    assert sizes == {"0 0 1000 600", "0 0 1000 750"}
    words = page.count('<span class="word"')
    assert words > 0 == words % 12 and page.count("<rect") == 12 * 5 + words * 5
    # Which image a free sentence describes is not known.
    assert 'class="right"' not in page and 'class="wrong"' not in page

    by_image, by_caption = ["by-image", file, "3"], [file, searched_split.captions[7], "-k", "12"]
    for args, own, count, photographs in ((by_image, "3", 10, 1), (by_caption, "1", 12, 2)):
        page = page_of(args)
        assert page.count("<image") == photographs
        marks = re.findall('<p class="(right|wrong)">', page)
        (row,) = answers_of(args, capsys)
        assert [mark == "right" for mark in marks] == [image == own for image in images_of(row)]
        assert len(marks) == count
    assert marks.count("right") == 1


def test_a_run_without_collection_is_encoded_on_the_spot(run, whole_run, capsys):
    query = ["A photo of thing3 again.", "-k", "12"]
    (expected,), (found,) = (answers_of([r.path, *query], capsys) for r in (run, whole_run))
    assert set(images_of(found)) == set(images_of(expected))


def test_images_without_captions(run, dataset_folder, tmp_path, capsys):
    photos, collection = tmp_path / "photos", tmp_path / "photos.h5"
    photos.mkdir()
    shutil.copy(dataset_folder / "test_ims.npy", photos / "mine_ims.npy")
    (photos / "mine_ids.txt").write_text("".join(f"photo{i}.jpg\n" for i in range(12)))
    where = ["--dataset", str(photos), "--split", "mine"]
    make = ["collection", str(run.path), "--out", str(collection), *where]
    index.main([*make, "--images", str(photos)])
    assert open_collection(collection).image_folder == str(photos)
    query = ["A photo of thing3 again.", "-k", "12"]
    (expected,) = answers_of([run.path, *query], capsys)
    (found,) = answers_of([collection, *query], capsys)
    assert images_of(found) == [f"photo{image}.jpg" for image in images_of(expected)]
    assert all(answer["captions"] == [] for answer in found["answers"])
    search.main([str(arg) for arg in [collection, *query]])
    assert "photo3.jpg" in capsys.readouterr().out
    message = fails(["by-image", collection, "photo3.jpg"], capsys, search)
    assert message.endswith("photos.h5 has no captions to find for an image")
    # Heads are fitted to captions.
    message = fails([run.path, *where, "--overwrite"], capsys, index)
    assert "lacks mine_caps.txt" in message


def test_a_moved_run_is_named(run, tmp_path, capsys):
    moved = copy_of(run, tmp_path / "moved")
    collection = open_collection(moved.collection)
    collection.run = str(tmp_path / "gone")
    collection.save(moved.collection)
    assert "not found" in fails([moved.collection, "a photo"], capsys, search)
    assert answers_of([moved.collection, "a photo", "--run", moved.path], capsys)


def test_faiss_answers_alike(run, capsys):
    pytest.importorskip("faiss")
    query = [run.path, "A photo of thing3 again.", "--num-candidates", "5", "-k", "3"]
    (found,), (expected,) = (
        answers_of([*query, "--backend", backend], capsys) for backend in ("faiss", "brute-force")
    )
    assert images_of(found) == images_of(expected)


def test_milvus_answers_alike(run, tmp_path, capsys):
    pytest.importorskip("milvus_lite")
    query = [run.path, "A photo of thing3 again.", "--num-candidates", "5", "-k", "3"]
    # Milvus Lite starts a server of its own, which should not inherit pytest's captured streams.
    command = [sys.executable, "-m", "hslm_tf.search", *query, "--json"]
    command += ["--backend", "milvus", "--uri", tmp_path / "a.db"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (found,), (expected,) = json.loads(done.stdout), answers_of(query, capsys)
    assert images_of(found) == images_of(expected)


def test_what_the_model_does_not_understand_is_said(run, capsys, caplog):
    answers_of([run.path, "xyzzy", "a photo", "a photo " * 99], capsys)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    longest = run.config().model.max_tokens - 2
    assert warnings == [
        "The model knows no word of 'xyzzy'",
        f"The model truncates a caption of 198 words to {longest}",
    ]


def test_search_refuses(run, tmp_path, capsys, monkeypatch):
    file, none, html = run.collection, tmp_path / "none", tmp_path / "out.html"
    for extra in ("faiss", "jinja2"):
        monkeypatch.setitem(sys.modules, extra, None)
    for args, message in (
        ([file], "Name at least one CAPTION"),
        (["by-image", file], "Name at least one IMAGE"),
        ([none, "a"], "no such run or collection"),
        ([file, "a", "-k", "0"], "-k is at least 1"),
        (["by-image", file, "99"], "'99' is no image of the collection, and there is no such file"),
        ([file, " "], "no words"),
        ([file, "a", "--images", none], "--images needs --html"),
        ([file, "a", "--images", none, "--html", html], "no such folder"),
        ([run.path, "a", "--run", run.path], "--run says where"),
        ([file, "a", "--backend", "milvus"], "needs a uri"),
        ([file, "a", "--backend", "faiss"], "pip install hslm-tf[faiss]"),
        ([file, "a", "--html", html], "pip install hslm-tf[report]"),
    ):
        assert message in fails(args, capsys, search)


@pytest.mark.parametrize("of", ["run", "file", "run without a file"])
def test_an_unknown_image_is_told_before_a_model_is_loaded(of, run, tmp_path, capsys, monkeypatch):
    where = run.collection if of == "file" else run.path
    if of == "run without a file":
        where = copy_of(run, tmp_path / "copy").path
        (where / run.collection.name).unlink()
    (tmp_path / "1.jpg").touch()
    monkeypatch.setattr(opening, "load_model", lambda path: pytest.fail("loaded"))
    message = fails(["by-image", where, tmp_path / "1.jpg", "0", "x.jpg"], capsys, search)
    assert "'x.jpg' is no image of the collection, and there is no such file" in message


def test_a_data_set_is_no_collection(tmp_path, capsys):
    path = tmp_path / "data.h5"
    convert(write_dataset(tmp_path / "data"), path, progress=False)
    for command in ("by-image", "by-caption"):
        assert "data.h5 has no manifest" in fails([command, path, "0"], capsys, search)


def test_index_writes_heads_of_the_model_and_leaves_it_alone(run, whole_run):
    assert run.best_model.read_bytes() == whole_run.best_model.read_bytes()
    heads = read_heads(run.projection_heads)
    assert heads.dim == 8
    assert re.fullmatch("[0-9a-f]{64}", heads.teacher_fingerprint)


def test_index_refuses(run, tmp_path, capsys):
    collection = ["collection", run.path]
    for args, message in (
        ([run.path], "--overwrite replaces it"),
        (collection, "--overwrite"),
        ([*collection, "--out", tmp_path, "--overwrite"], "is a folder"),
        ([tmp_path], "holds no run"),
        ([*collection, "--out", tmp_path / "x" / "a.h5"], "no such folder"),
        (["heads", run.path, "--correct-hubs"], "Unrecognized"),
        ([*collection, "--steps", 3], "Unrecognized"),
        ([run.path, "--steps", 0], "steps must be at least 1. Received: steps=0"),
    ):
        assert message in fails(args, capsys, index)


def test_a_collection_corrects_its_hubs(run, tmp_path):
    file = tmp_path / "corrected.h5"
    index.main(["collection", str(run.path), "--out", str(file), "--correct-hubs"])
    collection = open_collection(file, run.path)
    bank = draw_bank(splits.load_split(run.config(), "train"))
    test = splits.load_split(run.config(), "test")
    images, captions = HubCorrection(collection.model, bank).of_dataset(test)
    np.testing.assert_allclose(collection.encoded.image_hubness, images, rtol=1e-5)
    np.testing.assert_allclose(collection.encoded.caption_hubness, captions, rtol=1e-5)
    assert open_collection(run.collection, run.path).encoded.image_hubness is None
