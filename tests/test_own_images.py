"""docs/own-images.md, command by command, in an empty folder; and what else its results are for."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from hslm_tf import index, search
from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.data.loading import load_dataset
from hslm_tf.report.demo_page import DemoSearch
from hslm_tf.runs.opening import open_collection
from tests.images.efficientnet_lite import build
from tests.tiny_run import fails

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "docs/own-images.md").read_text("utf-8"), re.S)
# Packages are installed, nobody looks at the page, and there is no internet for the weights.
LEFT_OUT = ('pip install ".[images,report,demo]"\n', "python -m hslm_tf.demo captioned.h5\n")
NETWORK = "export BACKBONE=EfficientNetV2B0\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder at the end of the tutorial, with what was printed; processes share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if "PYTEST_XDIST_WORKER" not in os.environ else base.parent) / "own-images"
    try:
        folder.mkdir()
    except FileExistsError:
        for _ in range(600):
            if (folder / "printed.txt").exists():
                return folder
            time.sleep(1)
        pytest.fail("the process that runs the tutorial did not end")
    build(0)[0].save(folder / "lite0.keras")
    script = "".join(block for block in BLOCKS if block not in LEFT_OUT)
    assert NETWORK in script
    script = script.replace(NETWORK, "export BACKBONE=lite0.keras\n")
    (folder / "script.sh").write_text(f"set -e\n{script}", "utf-8")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {"PATH": path, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(
        ["bash", "script.sh"], cwd=folder, env=os.environ | settings, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
    with atomic_write(folder / "printed.txt") as draft:
        draft.write_text(result.stdout, "utf-8")
    return folder


def test_there_are_ten_commands():
    commands = re.findall(r"^(?:pip|python) ", "".join(BLOCKS), re.MULTILINE)
    assert len(commands) == 10
    assert [block for block in LEFT_OUT if block in BLOCKS] == list(LEFT_OUT)


def colours_of(path: Path) -> set[str]:
    pixels = np.asarray(Image.open(path).convert("RGB"), int).reshape(-1, 3)
    pure = {"red": (255, 0, 0), "blue": (0, 0, 255), "green": (0, 128, 0), "purple": (128, 0, 128)}
    near = {name: np.abs(pixels - colour).max(axis=1) < 60 for name, colour in pure.items()}
    return {name for name, mask in near.items() if mask.sum() > 200}


def test_photographs_nobody_described_are_found(folder):
    printed = (folder / "printed.txt").read_text("utf-8")
    first, *_ = re.findall(r"^ +1 +\S+ +(\d+\.jpg)", printed, re.MULTILINE)
    assert {"red", "blue"} <= colours_of(folder / "photos" / first)
    page = (folder / "found.html").read_text("utf-8")
    assert page.count("data:image/jpeg;base64,") >= 3


def test_a_photograph_is_described(folder):
    printed = (folder / "printed.txt").read_text("utf-8")
    described = printed.split("photos/3.jpg")[-1]
    captions = re.findall(r"\d+\.png +(a .*)", described)
    assert len(captions) == 3
    seen = colours_of(folder / "photos/3.jpg")
    assert len(seen) == 2 and all(colour in captions[0] for colour in seen)


def asked(arguments, capsys):
    capsys.readouterr()
    search.main([*map(str, arguments), "--json"])
    return json.loads(capsys.readouterr().out)


def values_of(answer, name):
    return [hit[name] for hit in answer["answers"]]


def test_a_photograph_of_the_collection_is_answered_as_its_id(folder, capsys, tmp_path):
    shutil.copy(folder / "captioned/650.png", tmp_path / "copy.png")
    images = [tmp_path / "copy.png", "650.png", "-k", 5, "--num-candidates", 0]
    page = tmp_path / "page.html"
    by_file, by_id = asked(["by-image", folder / "captioned.h5", *images, "--html", page], capsys)
    assert by_file["query"].endswith("copy.png")
    assert values_of(by_file, "caption") == values_of(by_id, "caption")
    # The collection keeps encoded regions as float16.
    np.testing.assert_allclose(values_of(by_file, "score"), values_of(by_id, "score"), atol=2e-3)
    assert page.read_text("utf-8").count("copy.png") >= 2


def test_networks_that_moved(folder, capsys, tmp_path):
    moved = shutil.copy(folder / "captioned.h5", tmp_path / "captioned.h5")
    with h5py.File(moved, "a") as file:
        manifest = json.loads(file.attrs["manifest"])
        manifest["extraction"]["backbone"] = "/moved/lite0.keras"
        file.attrs["manifest"] = json.dumps(manifest)
    question = [folder / "photos/3.jpg", "-k", 1]
    error = fails(["by-image", moved, *question], capsys, search)
    assert "/moved/lite0.keras: there is no such file" in error
    found = asked(["by-image", moved, *question, "--backbone", folder / "lite0.keras"], capsys)
    assert found == asked(["by-image", folder / "captioned.h5", *question], capsys)


def test_features_made_in_another_way_are_refused(folder, capsys, tmp_path):
    data = shutil.copytree(folder / "data", tmp_path / "data")
    made = json.loads((data / "photos_features.json").read_text())
    (data / "photos_features.json").write_text(json.dumps(made | {"size": 224}))
    run, target = folder / "runs/mine", tmp_path / "other.h5"
    question = ["collection", run, "--dataset", data, "--split", "photos", "--out", target]
    error = fails(question, capsys, index)
    assert "its features were made with size 224, those of" in error and "with size 320" in error
    assert not target.exists()
    collection = open_collection(folder / "photos.h5")
    with pytest.raises(ValueError, match="the collection with size 320: they do not compare"):
        collection.add(load_dataset(data, "photos", captions_optional=True))


def test_questions_without_an_answer(folder, capsys, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no photograph")
    question = ["by-image", folder / "captioned.h5"]
    error = fails([*question, tmp_path / "bad.jpg"], capsys, search)
    assert "bad.jpg: it is no photograph that can be read" in error
    error = fails([*question, "650.png", "--backbone", "x"], capsys, search)
    assert "--backbone, --weights and --boxes are for photographs" in error


def test_an_uploaded_photograph_in_the_demo(folder, tmp_path):
    demo = DemoSearch(open_collection(folder / "captioned.h5"))
    assert demo.takes_photographs
    page = str(demo.captions_of_photograph(str(folder / "photos/3.jpg"), 4))
    assert "Captions for 3.jpg" in page and page.count("data:image/jpeg") >= 1
    assert "Choose a photograph first." in str(demo.captions_of_photograph(None, 4))
    (tmp_path / "bad.jpg").write_bytes(b"no photograph")
    page = str(demo.captions_of_photograph(str(tmp_path / "bad.jpg"), 4))
    assert "bad.jpg: it is no photograph" in page and str(tmp_path) not in page
    assert not DemoSearch(open_collection(folder / "photos.h5")).takes_photographs


def test_beam_encodes_photographs_as_the_commands_do(folder, tmp_path, capsys):
    pytest.importorskip("apache_beam")
    from hslm_tf.beam import __main__ as beam

    photos, out = shutil.copytree(folder / "photos", tmp_path / "photos"), tmp_path / "work"
    (photos / "bad.jpg").write_bytes(b"no photograph")
    arguments = ["photographs", folder / "runs/mine", photos, "--out", out, "--shard-size", 40]
    beam.main([str(argument) for argument in arguments])
    assert "100 images encoded, 1 rejected" in capsys.readouterr().out
    (line,) = (out / "rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "bad.jpg" and "no photograph" in json.loads(line)["reason"]
    question = ["a red circle beside a blue square", "-k", 5]
    files = folder / "photos.h5", out / "collection.h5"
    (one,), (other,) = (asked([file, *question], capsys) for file in files)
    assert values_of(one, "image") == values_of(other, "image")
    one, other = (open_collection(file).encoded for file in files)
    assert sorted(one.ids) == sorted(other.ids) and set(one.extraction) == set(other.extraction)
