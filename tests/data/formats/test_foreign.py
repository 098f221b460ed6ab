import shutil

import numpy as np
import pytest

from hslm_tf.data import DataError, load_dataset
from hslm_tf.data.convert import convert, open_source
from hslm_tf.data.loading import find_splits
from tests.data import field_files as field
from tests.data.field_files import CAPTIONS, COCO_IDS, NAMES, OURS, STEMS, assert_holds, opened


def splits_of(path, **options):
    return list(open_source(path, **options).splits)


# Every layout of region features, written into a folder that the captions lie in, too.
STORES = {
    "npz": lambda folder: field.write_npz(folder / "features"),
    "npz in the folder itself": field.write_npz,
    "npz named by cocoid": lambda folder: field.write_npz(
        folder / "features", [f"{number:012d}" for number in COCO_IDS]
    ),
    "npz of several folders": lambda folder: (
        (folder / "b").mkdir(),
        shutil.move(field.write_npz(folder / "a") / f"{STEMS[3]}.npz", folder / "b"),
    ),
    "LXMERT": lambda folder: field.write_lxmert(folder / "val2014_obj36.tsv"),
    "LXMERT with a header": lambda folder: field.write_lxmert(folder / "obj.tsv", header=True),
    "bottom-up TSV": lambda folder: field.write_bottom_up(folder / "trainval.tsv"),
    "bottom-up TSV in parts": lambda folder: [
        field.write_bottom_up(folder / f"karpathy.tsv.{part}", images=images)
        for part, images in enumerate([[3, 0], [2, 1]])
    ],
    "other header": lambda folder: field.write_bottom_up(
        folder / "any.tsv",
        header=("num_boxes", "img_id", "cls_prob", "img_w", "img_h", "boxes", "features"),
    ),
    "HDF5": lambda folder: field.write_root_hdf5(folder / "train36.hdf5"),
    "HDF5 in two files": lambda folder: [
        field.write_root_hdf5(folder / "train36.hdf5", images=[2, 0]),
        field.write_root_hdf5(folder / "val36.hdf5", images=[1, 3]),
    ],
    "HDF5, features first": lambda folder: field.write_root_hdf5(
        folder / "trainval.h5", "features first"
    ),
    "HDF5 with ranges": lambda folder: field.write_root_hdf5(folder / "train.hdf5", "ranges"),
    "HDF5 in chunks": lambda folder: field.write_root_hdf5(
        folder / "train36.hdf5", chunks=True, compression="gzip"
    ),
}


@pytest.mark.parametrize("target", ["precomputed", "data.h5"])
@pytest.mark.parametrize("store", STORES)
def test_every_layout_is_converted(tmp_path, store, target):
    (tmp_path / "source").mkdir()
    STORES[store](tmp_path / "source")
    path = field.write_karpathy(tmp_path / "source")
    for source in (path, tmp_path / "source"):
        assert splits_of(source) == ["dev", "test", "train"]
    place = tmp_path / target
    convert(path, place, progress=False)
    assert find_splits(place) == ["dev", "test", "train"]
    for split, images in OURS.items():
        # Images of `train` have 5 and 7 captions: a number for each is kept with an id a caption.
        dataset = load_dataset(place, split)
        assert_holds(dataset, images)
        assert dataset.captions == [text for i in images for text in CAPTIONS[i]]
        assert dataset.image_ids == [NAMES[i] for i in images]
        owners = [row for row, i in enumerate(images) for _ in CAPTIONS[i]]
        np.testing.assert_array_equal(dataset.caption_to_image, owners)


def test_features_elsewhere(tmp_path):
    (tmp_path / "captions").mkdir()
    path = field.write_karpathy(tmp_path / "captions")
    features = field.write_npz(tmp_path / "features")
    with pytest.raises(
        DataError, match="holds no region.*it holds dataset_own.json; readable are a f"
    ):
        opened(path, "train")
    for source in (path, path.parent):
        assert_holds(opened(source, "train", features=features), OURS["train"])
    with pytest.raises(
        DataError,
        match="none holds no region features, it holds nothing: there is no such folder; readable",
    ):
        opened(path, "train", features=tmp_path / "none")
    with pytest.raises(DataError, match="features is the source itself: name another target"):
        convert(path, features, features=features, progress=False)
    convert(path, tmp_path / "out", features=features, progress=False)
    assert_holds(load_dataset(tmp_path / "out", "dev"), OURS["dev"])


def test_precomputed_features_with_ids_and_a_json(tmp_path):
    """As after extracting features of a folder of photographs: one split with ids, no captions."""
    np.save(tmp_path / "photos_ims.npy", field.padded(field.FEATURES, field.WIDTH))
    np.save(tmp_path / "photos_num_regions.npy", np.array(field.COUNTS))
    (tmp_path / "photos_ids.txt").write_text("\n".join(NAMES))
    path = field.write_karpathy(tmp_path)
    assert_holds(opened(path, "train"), OURS["train"], boxes=False)
    convert(path, tmp_path / "all.h5", splits=["train"], progress=False)
    (tmp_path / "captions").mkdir()
    path = field.write_karpathy(tmp_path / "captions")
    dataset = opened(path, "train", features=tmp_path / "all.h5")
    assert_holds(dataset, OURS["train"], boxes=False)


def test_images_without_features_are_counted(tmp_path):
    path = field.write_karpathy(tmp_path)
    field.write_lxmert(tmp_path / "one.tsv", images=[0])
    message = (
        rf"dataset_own.json, split train: .*one.tsv has no image '{NAMES[2]}'; it lacks 1 of 2, "
        rf"looked up by name without ending, and holds '{STEMS[0]}'"
    )
    with pytest.raises(DataError, match=message):
        opened(path, "train")


# Layouts with a file or folder for each split, captions and ids beside.
NAMED = {
    "npz": (lambda folder: field.write_npz(folder / "train"), STEMS),
    "LXMERT": (lambda folder: field.write_lxmert(folder / "train.tsv"), STEMS),
    "HDF5": (lambda folder: field.write_root_hdf5(folder / "train.hdf5"), COCO_IDS),
}


@pytest.mark.parametrize("case", NAMED)
def test_features_named_after_the_split(tmp_path, case):
    write, ids = NAMED[case]
    write(tmp_path)
    chosen = [2, 0, 3]
    (tmp_path / "train_ids.txt").write_text("\n".join(str(ids[i]) for i in chosen))
    (tmp_path / "train_caps.txt").write_text("\n".join("abcdef"))
    assert splits_of(tmp_path) == ["train"]
    dataset = opened(tmp_path, "train")
    assert_holds(dataset, chosen)
    assert dataset.captions == list("abcdef")
    np.testing.assert_array_equal(dataset.caption_to_image, [0, 0, 1, 1, 2, 2])
    # An id for every caption says whose they are, wherever they stand.
    rows = [2, 0, 2, 3, 0, 2]
    (tmp_path / "train_ids.txt").write_text("\n".join(str(ids[i]) for i in rows))
    dataset = opened(tmp_path, "train")
    assert_holds(dataset, [2, 0, 3])
    assert dataset.captions == list("acfbed")
    np.testing.assert_array_equal(dataset.caption_to_image, [0, 0, 0, 1, 1, 2])
    (tmp_path / "train_ids.txt").unlink()
    (tmp_path / "train_caps.txt").write_text("\n".join("abcd"))
    if case == "npz":
        with pytest.raises(DataError, match="has captions without ids, and .*train has no order"):
            opened(tmp_path, "train")
    else:
        assert_holds(opened(tmp_path, "train"), range(4))


def test_lists_beside_the_features_of_a_whole_collection(tmp_path):
    field.write_bottom_up(tmp_path / "trainval_36.tsv")
    assert splits_of(tmp_path) == ["all"]
    folder = tmp_path / "split"
    folder.mkdir()
    for place, options in ((tmp_path, {}), (folder, {"features": tmp_path / "trainval_36.tsv"})):
        (place / "dev_ids.txt").write_text("25\n391895")
        (place / "dev_caps.txt").write_text("a\nb\n")
        assert splits_of(place, **options) == ["dev"]
        assert_holds(opened(place, "dev", **options), [1, 2])
    (folder / "dev_ids.txt").write_text("25\n25\n391895\n")
    (folder / "dev_caps.txt").write_text("a\nb\nc\n")
    dataset = opened(folder, "dev", features=tmp_path)
    np.testing.assert_array_equal(dataset.caption_to_image, [0, 0, 1])


def test_ids_of_a_file_of_features_are_no_split_beside_captions(tmp_path):
    field.write_root_hdf5(tmp_path / "train36.hdf5", ids=None)
    (tmp_path / "train36_ids.txt").write_text("\n".join(map(str, COCO_IDS)))
    assert splits_of(tmp_path) == ["train36"]
    assert_holds(opened(tmp_path, "train36", images_alone=True), range(4))
    field.write_karpathy(tmp_path)
    assert splits_of(tmp_path) == ["dev", "test", "train"]
    assert_holds(opened(tmp_path, "train"), OURS["train"])


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: field.write_npz(folder / "features"),
        lambda folder: field.write_lxmert(folder / "obj36.tsv"),
        lambda folder: field.write_root_hdf5(folder / "train36.hdf5", ids=None),
    ],
)
def test_features_alone(tmp_path, write):
    path = write(tmp_path)
    assert splits_of(path) == ["all"]
    dataset = opened(path, "all", images_alone=True)
    assert_holds(dataset, range(4))
    with pytest.raises(DataError, match="has no captions in the split all: name the"):
        opened(path, "all")
    convert(path, tmp_path / "out", images_alone=True, progress=False)
    assert not (tmp_path / "out" / "all_caps.txt").exists()
    assert_holds(load_dataset(tmp_path / "out", "all", captions_optional=True), range(4))


def test_split_files_come_before_captions_that_name_images(tmp_path):
    np.save(tmp_path / "train_ims.npy", np.zeros((1, 2, 3), np.float32))
    (tmp_path / "train_caps.txt").write_text("a\n")
    field.write_karpathy(tmp_path)
    field.write_npz(tmp_path / "features")
    assert find_splits(tmp_path) == ["train"]
    assert load_dataset(tmp_path, "train").num_images == 1


def test_nothing_is_recognised(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("hello")
    for call in (open_source, find_splits):
        with pytest.raises(DataError, match="no split: it holds model.pth, notes.txt. A data"):
            call(tmp_path)
        with pytest.raises(DataError, match="pth holds no split: it is a file ending in .pth"):
            call(tmp_path / "model.pth")
        with pytest.raises(DataError, match="none.h5 holds no split: there is no such file"):
            call(tmp_path / "none.h5")


FOREIGN = {
    "Karpathy's JSON, whose val is dev, and a file per image in": lambda folder: (
        field.write_npz(folder / "features"),
        field.write_karpathy(folder),
    ),
    "is TSV in": lambda folder: field.write_lxmert(folder / "obj36.tsv"),
    "is HDF5 without splits in": lambda folder: field.write_root_hdf5(folder / "train36.hdf5"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_named_with_the_command_that_converts_it(kind, tmp_path):
    FOREIGN[kind](tmp_path)
    message = f"{kind}.*`python -m hslm_tf.convert {tmp_path} TARGET` makes a data set of it"
    for call in (lambda path: load_dataset(path, "train"), find_splits):
        with pytest.raises(DataError, match=f"{tmp_path} is no data set yet: .*{message}"):
            call(tmp_path)


def test_two_files_of_captions(tmp_path):
    field.write_karpathy(tmp_path)
    field.write_karpathy(tmp_path, "dataset_other.json")
    with pytest.raises(DataError, match="dataset_other.json, dataset_own.json: name one of them"):
        splits_of(tmp_path)


def test_features_twice_for_a_split(tmp_path):
    field.write_npz(tmp_path / "train")
    field.write_lxmert(tmp_path / "train.tsv")
    (tmp_path / "train_ids.txt").write_text("a")
    with pytest.raises(DataError, match="train.tsv and .*train: keep one of them"):
        opened(tmp_path, "train", images_alone=True)
