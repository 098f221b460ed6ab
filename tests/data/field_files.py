"""A tiny collection, written in the layouts of the field's own files."""

import base64
import json

import h5py
import numpy as np

from hslm_tf.data.convert import open_source
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.formats.tsv import FIELDS, LXMERT_FIELDS

WIDTH = 120
COUNTS = (12, 10, 17, 10)
SIZES = np.array([[200, 400], [500, 375], [640, 480], [333, 500]])
COCO_IDS = (9, 25, 391895, 522418)
NAMES = tuple(f"COCO_val2014_{number:012d}.jpg" for number in COCO_IDS)
STEMS = tuple(name.removesuffix(".jpg") for name in NAMES)
SPLITS = ("train", "val", "train", "test")
CAPTIONS = tuple(tuple(f"image {i} caption {c} ." for c in range(5 + i)) for i in range(4))
OURS = {"train": (0, 2), "dev": (1,), "test": (3,)}

_RNG = np.random.default_rng(3)
FEATURES = [_RNG.normal(size=(count, WIDTH)).astype(np.float32) for count in COUNTS]
# Corners as parts of the image, that are whole in pixels or nearly so.
BOXES = [np.sort(_RNG.uniform(size=(count, 2, 2)), axis=1).reshape(-1, 4) for count in COUNTS]


def pixels(image):
    """Boxes of an image in pixels."""
    return (BOXES[image] * np.tile(SIZES[image], 2)).astype(np.float32)


def padded(values, width):
    """`[images, N, width]`, zero beyond the regions."""
    array = np.zeros((len(values), max(COUNTS), width), np.float32)
    for row, value in enumerate(values):
        array[row, : len(value)] = value
    return array


def write_karpathy(folder, name="dataset_own.json", dataset="own", splits=SPLITS):
    images = [
        {
            "filepath": "val2014",
            "filename": NAMES[i],
            "imgid": i,
            "cocoid": COCO_IDS[i],
            "split": splits[i],
            "sentids": [],
            "sentences": [{"raw": text, "tokens": text.split()} for text in CAPTIONS[i]],
        }
        for i in range(4)
    ]
    path = folder / name
    path.write_text(json.dumps({"images": images, "dataset": dataset}))
    return path


def write_coco(folder, **changed):
    content = {
        "info": {"description": "COCO 2014 Dataset"},
        "images": [{"id": COCO_IDS[i], "file_name": NAMES[i]} for i in range(4)],
        "annotations": [
            {"image_id": COCO_IDS[i], "id": 10 * i + c, "caption": f" {CAPTIONS[i][c]}\n"}
            for c in range(8)
            for i in range(4)
            if c < len(CAPTIONS[i])
        ],
    }
    path = folder / "captions_val2014.json"
    path.write_text(json.dumps(content | changed))
    return path


def write_npz(folder, ids=STEMS, **more):
    folder.mkdir(exist_ok=True)
    for i, image_id in enumerate(ids):
        np.savez_compressed(
            folder / f"{image_id}.npz",
            x=FEATURES[i],
            bbox=pixels(i),
            num_bbox=COUNTS[i],
            image_w=SIZES[i][0],
            image_h=SIZES[i][1],
            info=np.array({"objects_id": [1]}, dtype=object),
            **more,
        )
    return folder


def encode(values, dtype="<f4"):
    return base64.b64encode(np.ascontiguousarray(values, dtype).data).decode()


def lxmert_fields(image, ids=STEMS):
    count, (width, height) = COUNTS[image], SIZES[image]
    numbers = np.arange(count)
    return [
        *(ids[image], str(height), str(width)),
        *(encode(numbers, "<i8"), encode(numbers), encode(numbers, "<i8"), encode(numbers)),
        *(str(count), encode(pixels(image)), encode(FEATURES[image])),
    ]


def write_lxmert(path, header=False, images=range(4), ids=STEMS):
    lines = [LXMERT_FIELDS] * header + [lxmert_fields(image, ids) for image in images]
    path.write_text("".join("\t".join(line) + "\n" for line in lines))
    return path


def write_bottom_up(path, ids=COCO_IDS, images=range(4), header=()):
    lines = [header] if header else []
    for i in images:
        values = {
            **dict.fromkeys(("image_id", "img_id"), str(ids[i])),
            **dict.fromkeys(("image_w", "img_w"), str(SIZES[i][0])),
            **dict.fromkeys(("image_h", "img_h"), str(SIZES[i][1])),
            "num_boxes": str(COUNTS[i]),
            "boxes": encode(pixels(i)),
            "features": encode(FEATURES[i]),
        }
        lines.append([values.get(field, "x") for field in header or FIELDS])
    path.write_text("".join("\t".join(line) + "\n" for line in lines))
    return path


def write_vinvl(path):
    lines = [
        (STEMS[i], json.dumps({"num_boxes": COUNTS[i], "features": encode(FEATURES[i])}))
        for i in range(4)
    ]
    path.write_text("".join("\t".join(line) + "\n" for line in lines))
    return path


def write_root_hdf5(path, form="regions first", ids=COCO_IDS, images=range(4), **options):
    """`form`: regions first, features first (of the whole, padded), or ranges."""
    features = [FEATURES[i] for i in images]
    boxes, parts = [pixels(i) for i in images], [BOXES[i] for i in images]
    with h5py.File(path, "w") as file:
        if form == "ranges":
            ends = np.cumsum([len(values) for values in features])
            file["image_features"] = np.concatenate(features)
            file["image_bb"] = np.concatenate(boxes)
            spatial = np.concatenate(parts)
            file["pos_boxes"] = np.stack([np.append(0, ends[:-1]), ends], axis=1).astype("i4")
        else:
            array, box_array = padded(features, WIDTH), padded(boxes, 4)
            spatial = padded(parts, 4)
            file["num_boxes"] = np.array([len(values) for values in features])
            if form == "features first":
                array, box_array = array.swapaxes(1, 2), box_array.swapaxes(1, 2)
            name = "features" if form == "features first" else "image_features"
            file.create_dataset(name, data=array, **options)
            file["boxes" if form == "features first" else "image_bb"] = box_array
        if form == "features first":
            file["widths"], file["heights"] = SIZES[list(images)].T
        else:
            file["spatial_features"] = np.concatenate(
                [spatial, spatial[..., 2:] - spatial[..., :2]], axis=-1
            ).astype(np.float32)
        if ids is not None:
            file["ids"] = [ids[i] for i in images]
    return path


def opened(path, split, **options) -> RetrievalDataset:
    """Opens a split of files of other tools, as `convert` does."""
    return open_source(path, **options).open(split)


def assert_holds(dataset, images, boxes=True):
    """Compares a dataset with images of the collection."""
    rows = np.arange(len(images))
    regions, mask = dataset.read_images(rows)
    np.testing.assert_array_equal(mask.sum(axis=1), [COUNTS[image] for image in images])
    for row, image in enumerate(images):
        np.testing.assert_array_equal(regions[row, : COUNTS[image]], FEATURES[image])
        assert not regions[row, COUNTS[image] :].any()
        if boxes:
            found = dataset.read_boxes(rows)[row, : COUNTS[image]]
            np.testing.assert_allclose(found, BOXES[image], atol=1e-6)
    assert boxes == (dataset.boxes is not None)
