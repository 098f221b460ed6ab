import dataclasses
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf import index, search
from hslm_tf.evaluation.scoring import score_matrix
from hslm_tf.models.hubness import HubCorrection, draw_bank
from hslm_tf.retrieval.collection import Collection
from hslm_tf.retrieval.projection_heads import read_heads
from hslm_tf.retrieval.rows import Rows
from hslm_tf.runs import splits
from hslm_tf.runs.opening import open_collection
from hslm_tf.runs.run_directory import RunDirectory

HEADS = "--steps 3 --dim 8 --concepts 8 --images-a-step 6 --captions-a-step 12".split()


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def run(whole_run, tmp_path_factory):
    """The finished run with heads and a collection, all made by the command."""
    run = RunDirectory(tmp_path_factory.mktemp("searched") / "run")
    shutil.copytree(whole_run.path, run.path)
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


def fails(command, args, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main([str(arg) for arg in args])
    assert str(stop.value.code).startswith("error: ")
    assert "\n" not in stop.value.code
    assert capsys.readouterr().out == ""
    return stop.value.code


def page_of(args, file, capsys):
    search.main([str(arg) for arg in [*args, "--html", file]])
    capsys.readouterr()
    return file.read_text("utf-8")


def test_json_answers_are_the_exact_best(run, scores, searched_split, capsys):
    captions = [searched_split.captions[7], searched_split.captions[31]]
    found = answers_of([run.path, *captions, "-k", "4"], capsys)
    assert [row["query"] for row in found] == captions
    for row, caption in zip(found, (7, 31), strict=True):
        order = np.argsort(-scores[:, caption], kind="stable")[:4]
        assert [answer["image"] for answer in row["answers"]] == [str(i) for i in order]
        np.testing.assert_allclose(
            [answer["score"] for answer in row["answers"]], scores[order, caption], atol=1e-5
        )
        for image, answer in zip(order, row["answers"], strict=True):
            own = np.flatnonzero(searched_split.caption_to_image == image)
            assert answer["captions"] == [searched_split.captions[i] for i in own]


def test_the_other_way_and_from_the_file(run, scores, searched_split, capsys):
    (row,) = answers_of(["by-image", run.collection, "5", "-k", "6"], capsys)
    order = np.argsort(-scores[5], kind="stable")[:6]
    assert [answer["caption"] for answer in row["answers"]] == [
        searched_split.captions[i] for i in order
    ]
    assert [answer["image"] for answer in row["answers"]] == [
        str(searched_split.caption_to_image[i]) for i in order
    ]


def test_table_and_gallery(run, searched_split, tmp_path, capsys):
    """Boxes, thumbnails and words that look like HTML and like rich's markup."""
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
    collection = Collection(model, collection.heads, encoded, run=run.path)
    collection.save(tmp_path / "a.h5")
    images = tmp_path / "images"
    images.mkdir()
    for name in ("1.jpg", "3.jpg"):
        pixels = tf.constant(rng.integers(0, 255, (300, 500, 3)), tf.uint8)
        tf.io.write_file(str(images / name), tf.io.encode_jpeg(pixels))
    (images / "4.jpg").write_text("not an image")
    args = [tmp_path / "a.h5", f"a photo & {nasty}", "-k", "12", "--images", images]
    search.main([str(arg) for arg in [*args, "--html", tmp_path / "out.html"]])
    printed = capsys.readouterr().out
    assert nasty in printed
    page = (tmp_path / "out.html").read_text("utf-8")
    assert "<script" not in page and "http" not in page
    tags, parser = [], HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append((tag, dict(attrs)))
    parser.feed(page)
    figures = [tag for tag, attrs in tags if (tag, attrs.get("class")) == ("figure", "hit")]
    assert len(figures) == 12
    thumbnails = [attrs["href"] for tag, attrs in tags if tag == "image"]
    assert len(thumbnails) == 2
    assert all(href.startswith("data:image/jpeg;base64,") for href in thumbnails)
    assert {attrs["viewbox"] for tag, attrs in tags if tag == "svg"} == {
        "0 0 1000 600",
        "0 0 1000 750",
    }
    words = [attrs for _, attrs in tags if attrs.get("class") == "word"]
    rectangles = [attrs for tag, attrs in tags if tag == "rect"]
    assert len(rectangles) == 12 * 5 + len(words) * 5
    assert all(int(r["x"]) + int(r["width"]) <= 1000 for r in rectangles)
    weights = [float(attrs["title"]) for attrs in words]
    assert len(weights) % 12 == 0 and 0 <= min(weights) < max(weights) <= 1
    # Which image a free sentence describes is not known.
    assert not any(attrs.get("class") in ("right", "wrong") for _, attrs in tags)

    page = page_of(
        ["by-image", tmp_path / "a.h5", "3", "--images", images], tmp_path / "b.html", capsys
    )
    assert page.count("<figure") == 2 and page.count("<image") == 1
    found = re.findall('<p class="(right|wrong)">', page)
    assert len(found) == 10
    (row,) = answers_of(["by-image", tmp_path / "a.h5", "3"], capsys)
    right = [answer["image"] == "3" for answer in row["answers"]]
    assert [mark == "right" for mark in found] == right

    caption = searched_split.captions[7]
    page = page_of([tmp_path / "a.h5", caption, "-k", "12"], tmp_path / "c.html", capsys)
    (row,) = answers_of([tmp_path / "a.h5", caption, "-k", "12"], capsys)
    right = [answer["image"] == "1" for answer in row["answers"]]
    found = re.findall('<p class="(right|wrong)">', page)
    assert [mark == "right" for mark in found] == right and right.count(True) == 1


def test_a_gallery_needs_an_extra(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    message = fails(search, [run.path, "a", "--html", tmp_path / "a.html"], capsys)
    assert "pip install hslm-tf[report]" in message


def test_a_run_without_collection_is_encoded_on_the_spot(run, whole_run, capsys):
    query = ["A photo of thing3 again.", "-k", "12"]
    expected = answers_of([run.path, *query], capsys)
    found = answers_of([whole_run.path, *query], capsys)
    assert {a["image"] for a in found[0]["answers"]} == {a["image"] for a in expected[0]["answers"]}


def test_photographs_of_a_collection(whole_run, tmp_path):
    other = tmp_path / "other.h5"
    (tmp_path / "mine").mkdir()
    index.main(
        ["collection", str(whole_run.path), "--out", str(other), "--images", str(tmp_path / "mine")]
    )
    assert open_collection(other).image_folder == str(tmp_path / "mine")


def test_images_without_captions(run, dataset_folder, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(dataset_folder / "test_ims.npy", photos / "mine_ims.npy")
    (photos / "mine_ids.txt").write_text("".join(f"photo{i}.jpg\n" for i in range(12)))
    where = ["--dataset", photos, "--split", "mine"]
    collection = tmp_path / "photos.h5"
    index.main([str(arg) for arg in ["collection", run.path, "--out", collection, *where]])
    query = ["A photo of thing3 again.", "-k", "12"]
    (expected,) = answers_of([run.path, *query], capsys)
    images = [f"photo{answer['image']}.jpg" for answer in expected["answers"]]
    (found,) = answers_of([collection, *query], capsys)
    assert [answer["image"] for answer in found["answers"]] == images
    assert all(answer["captions"] == [] for answer in found["answers"])
    search.main([str(arg) for arg in [collection, *query]])
    assert "photo3.jpg" in capsys.readouterr().out
    message = fails(search, ["by-image", collection, "photo3.jpg"], capsys)
    assert message.endswith("photos.h5 has no captions to find for an image")
    # Heads are fitted to captions.
    message = fails(index, [run.path, *where, "--overwrite"], capsys)
    assert "lacks mine_caps.txt" in message


def test_a_moved_run_is_named(run, tmp_path, capsys):
    moved = RunDirectory(tmp_path / "moved")
    shutil.copytree(run.path, moved.path)
    collection = open_collection(moved.collection)
    collection.run = str(tmp_path / "gone")
    collection.save(moved.collection)
    assert "not found" in fails(search, [moved.collection, "a photo"], capsys)
    assert answers_of([moved.collection, "a photo", "--run", moved.path], capsys)


def test_faiss_answers_alike(run, capsys):
    pytest.importorskip("faiss")
    query = [run.path, "A photo of thing3 again.", "--num-candidates", "5", "-k", "3"]
    (found,), (expected,) = (
        answers_of([*query, "--backend", "faiss"], capsys),
        answers_of(query, capsys),
    )
    assert [a["image"] for a in found["answers"]] == [a["image"] for a in expected["answers"]]


def test_milvus_answers_alike(run, tmp_path, capsys):
    pytest.importorskip("milvus_lite")
    query = [run.path, "A photo of thing3 again.", "--num-candidates", "5", "-k", "3", "--json"]
    # Milvus Lite starts a server of its own, which should not inherit pytest's captured streams.
    command = [sys.executable, "-m", "hslm_tf.search", *query]
    command += ["--backend", "milvus", "--uri", tmp_path / "a.db"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (found,), (expected,) = json.loads(done.stdout), answers_of(query[:-1], capsys)
    assert [a["image"] for a in found["answers"]] == [a["image"] for a in expected["answers"]]


def test_what_the_model_does_not_understand_is_said(run, capsys, caplog):
    answers_of([run.path, "xyzzy", "a photo", "a photo " * 99], capsys)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    longest = run.config().model.max_tokens - 2
    assert warnings == [
        "The model knows no word of 'xyzzy'",
        f"The model truncates a caption of 198 words to {longest}",
    ]


def test_search_refuses(run, tmp_path, capsys):
    collection = run.collection
    assert "Name at least one CAPTION" in fails(search, [collection], capsys)
    assert "Name at least one IMAGE" in fails(search, ["by-image", collection], capsys)
    assert "no such run or collection" in fails(search, [tmp_path / "none", "a"], capsys)
    assert "-k is at least 1" in fails(search, [collection, "a", "-k", "0"], capsys)
    assert "'99' is no image of the collection, and there is no such file" in fails(
        search, ["by-image", collection, "99"], capsys
    )
    assert "no words" in fails(search, [collection, " "], capsys)
    missing = [collection, "a", "--images", tmp_path / "x"]
    assert "--images needs --html" in fails(search, missing, capsys)
    missing += ["--html", tmp_path / "out.html"]
    assert "no such folder" in fails(search, missing, capsys)
    folder = run.path
    assert "--run says where" in fails(search, [folder, "a", "--run", folder], capsys)
    assert "needs a uri" in fails(search, [collection, "a", "--backend", "milvus"], capsys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "faiss", None)
        message = fails(search, [collection, "a", "--backend", "faiss"], capsys)
    assert "pip install hslm-tf[faiss]" in message


def test_index_writes_heads_of_the_model_and_leaves_it_alone(run, whole_run):
    assert run.best_model.read_bytes() == whole_run.best_model.read_bytes()
    heads = read_heads(run.projection_heads)
    assert heads.dim == 8
    assert re.fullmatch("[0-9a-f]{64}", heads.teacher_fingerprint)


def test_index_refuses(run, tmp_path, capsys):
    assert "--overwrite replaces it" in fails(index, [run.path], capsys)
    assert "--overwrite" in fails(index, ["collection", run.path], capsys)
    assert "is a folder" in fails(
        index, ["collection", run.path, "--out", tmp_path, "--overwrite"], capsys
    )
    assert "holds no run" in fails(index, [tmp_path], capsys)
    assert "no such folder" in fails(
        index, ["collection", run.path, "--out", tmp_path / "x" / "a.h5"], capsys
    )
    for misplaced in (
        ["heads", run.path, "--correct-hubs"],
        ["collection", run.path, "--steps", 3],
    ):
        with pytest.raises(SystemExit) as stop:
            index.main([str(arg) for arg in misplaced])
        assert stop.value.code == 2
    with pytest.raises(SystemExit) as stop:
        index.main([str(run.path), "--steps", "0"])
    assert stop.value.code == 2
    assert "steps must be at least 1. Received: steps=0" in capsys.readouterr().err


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


def test_heads_of_another_model_are_refused(run, whole_run, tmp_path, capsys):
    other = RunDirectory(tmp_path / "other")
    shutil.copytree(whole_run.path, other.path)
    model = keras.saving.load_model(other.best_model)
    model.set_weights([weight + 0.01 for weight in model.get_weights()])
    model.save(other.best_model)
    shutil.copy(run.projection_heads, other.projection_heads)
    assert "was distilled from another model" in fails(search, [other.path, "a photo"], capsys)
    shutil.copy(run.collection, other.collection)
    assert "was built with another model" in fails(search, [other.path, "a photo"], capsys)
