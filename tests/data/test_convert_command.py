import pytest

from hslm_tf.convert import main
from tests.data import field_files as field
from tests.data.split_files import write_split


def seen(text):
    """From a split to what was said about it."""
    found = {}
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            split = found.setdefault(line[:-1], {})
        else:
            key, _, value = line.strip().partition(" ")
            split[key] = value.strip()
    return found


def test_dry_run_describes_captions_and_features(tmp_path, capsys):
    field.write_lxmert(tmp_path / "obj36.tsv")
    source = field.write_karpathy(tmp_path, dataset="coco")
    main([str(source), "--dry-run", "--splits", "train"])
    assert seen(capsys.readouterr().out) == {
        "train": {
            "format": "Karpathy's JSON, whose val is dev, at most 5 captions an image, and TSV in "
            f"{tmp_path}",
            "images": "2",
            "captions": "10, 5 an image",
            "regions": "12 to 17",
            "width": "120",
            "type": "float32",
            "boxes": "yes",
            "ids": f"such as {field.NAMES[0]}",
        }
    }
    main([str(source), "--dry-run", "--splits", "train", "--captions-per-image", "0"])
    assert seen(capsys.readouterr().out)["train"]["captions"] == "12, 5 to 7 an image"


def test_dry_run_writes_nothing(tmp_path, capsys):
    features = field.write_root_hdf5(tmp_path / "train36.hdf5", "ranges")
    write_split(tmp_path / "split", full=False)
    before = sorted(tmp_path.rglob("*"))
    main([str(tmp_path / "split"), "--dry-run"])
    said = seen(capsys.readouterr().out)["train"]
    assert (said["format"], said["boxes"], said["ids"]) == ("precomputed", "none", "none")
    main([str(features), "--dry-run"])
    output = capsys.readouterr().out
    assert f"HDF5 without splits in {features}" in output
    assert "captions none" in output and "such as 9" in output
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(SystemExit, match="error: .* holds no split: "):
        main([str(tmp_path / "none"), "--dry-run"])


def test_the_command_converts_captions_here_and_features_there(tmp_path, capsys):
    (tmp_path / "captions").mkdir()
    source = field.write_karpathy(
        tmp_path / "captions", splits=("restval", "val", "train", "test"), dataset="coco"
    )
    features = field.write_npz(tmp_path / "features")
    out = tmp_path / "out"
    main([str(source), str(out), "--features", str(features), "--restval"])
    assert "train_ims.npy" in capsys.readouterr().out
    assert (out / "train_ids.txt").read_text().split() == [field.NAMES[2], field.NAMES[0]]
    assert len((out / "train_caps.txt").read_text().splitlines()) == 10
    assert not list(out.glob("restval*"))
    every = tmp_path / "every"
    main([str(source), str(every), "--features", str(features), "--captions-per-image", "0"])
    assert len((every / "dev_caps.txt").read_text().splitlines()) == 6


def test_the_command_needs_a_target_and_captions(tmp_path):
    features = field.write_npz(tmp_path / "features")
    with pytest.raises(SystemExit, match="error: a TARGET is needed to convert"):
        main([str(features)])
    with pytest.raises(SystemExit, match="error: .* has no captions in the split all"):
        main([str(features), str(tmp_path / "out")])
    main([str(features), str(tmp_path / "out"), "--images-alone"])
    assert (tmp_path / "out" / "all_ims.npy").exists()
    (write_split(tmp_path / "split") / "train_caps.txt").unlink()
    with pytest.raises(SystemExit, match="error: .* lacks train_caps.txt"):
        main([str(tmp_path / "split"), str(tmp_path / "other")])
