"""Small splits on disk, in the precomputed format, for the tests of this folder."""

from pathlib import Path

import numpy as np

IMAGES, REGIONS, WIDTH, PER_IMAGE = 6, 4, 3, 5


def captions_of(images: int = IMAGES, per_image: int = PER_IMAGE) -> list[str]:
    return [f"image {i} caption {c} — café" for i in range(images) for c in range(per_image)]


def write_split(folder: Path, split: str = "train", *, full: bool = True, **parts) -> Path:
    """Writes a split; `parts` replace its arrays (ims, boxes, num_regions) or lines (caps, ids)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    written = {
        "ims": rng.normal(size=(IMAGES, REGIONS, WIDTH)).astype(np.float32),
        "caps": captions_of(),
    }
    if full:
        written["ids"] = [f"photo_{i}.jpg" for i in range(IMAGES)]
        written["boxes"] = rng.uniform(size=(IMAGES, REGIONS, 4)).astype(np.float32)
        written["num_regions"] = np.array([4, 1, 2, 3, 4, 2])
    for part, value in (written | parts).items():
        if isinstance(value, np.ndarray):
            np.save(folder / f"{split}_{part}.npy", value)
        else:
            (folder / f"{split}_{part}.txt").write_text("\n".join(value) + "\n", encoding="utf-8")
    return folder


def anonymous_memory() -> int:
    """Bytes of anonymous memory this process holds."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not report RssAnon")


def write_sparse_array(path: Path, shape: tuple[int, ...]) -> int:
    """Writes a float32 array of zeros that takes no disk space; returns its size in bytes."""
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 4 * int(np.prod(shape)))
    return path.stat().st_size


def write_two_splits(folder):
    """Splits whose ids differ, as those of a collection do."""
    write_split(write_split(folder, "dev"), "train")
    ids = folder / "dev_ids.txt"
    ids.write_text(ids.read_text("utf-8").replace("photo", "other"), "utf-8")
    return folder


def assert_same(one, other):
    images = np.arange(IMAGES)
    assert (one.captions, one.image_ids) == (other.captions, other.image_ids)
    np.testing.assert_array_equal(one.caption_to_image, other.caption_to_image)
    for ours, theirs in zip(one.read_images(images), other.read_images(images), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(one.read_boxes(images), other.read_boxes(images))
    np.testing.assert_array_equal(one.num_regions, other.num_regions)
