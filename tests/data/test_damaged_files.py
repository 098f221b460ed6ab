"""Headers and parts that lie: one clear error, and nothing else that is read or opened."""

import h5py
import numpy as np
import pytest

from hslm_tf.data import DataError, load_dataset
from tests.data.split_files import write_split

FEATURES = np.ones((3, 2, 4), np.float32)


def npy(descr="<f4", shape="(3, 2, 4)", order="False", version=1, size=FEATURES.nbytes):
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}".encode()
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + FEATURES.tobytes()[:size]


HEADERS = {
    "more than it says": (npy("'<f4'", "(3, 2, 3)"), "has a damaged header or a foreign end"),
    "something behind": (npy("'<f4'") + b"more", "damaged header or a foreign end: .* expected"),
    "cut": (npy("'<f4'")[:-8], "is truncated: .* bytes, expected"),
    "nothing": (b"", "is not a .npy array"),
    "a beginning": (b"\x93NUMPY\x01\x00", "is not a .npy array"),
    "text": (b"not an array at all", "is not a .npy array"),
    "negative": (npy("'<f4'", "(3, -2, 4)"), "is not a .npy array: its shape is"),
    "huge": (npy("'<f4'", "(4611686018427387904, 4, 4)"), "is truncated: .* bytes, expected 295"),
    "beyond 64 bits": (npy("'<f4'", f"({10**30}, 2, 4)"), "is truncated"),
    "huge and empty": (npy("'<f4'", f"(0, {10**30}, 4)", size=0), "is not a .npy array"),
    "no type": (npy("'what'"), "is not a .npy array"),
    "nothing in a type": (npy("'V0'", size=0), "is not a .npy array|expected float32"),
    "a huge type": (npy("'V999999999999'"), "is not a .npy array|is truncated"),
    "numbers as type": (npy("[1, 2]"), "is not a .npy array"),
    "strings": (npy("'<U1'"), "expected float32 or float16"),
    "fields": (npy("[('a', '<f4')]"), "expected float32 or float16"),
    "objects": (npy("'|O'"), "holds Python objects, expected numbers"),
    "no shape": (npy("'<f4'", "7"), "is not a .npy array"),
    "deep": (npy("'<f4'", "(" * 5000 + ")" * 5000), "is not a .npy array"),
    "code": (npy("'<f4'", "__import__('os').abort()"), "is not a .npy array"),
    "another version": (npy("'<f4'", version=9), "is not a .npy array"),
    "a long header": (npy("'<f4'", "(3, 2, 4)" + " " * 60000), "is not a .npy array"),
    "one number": (npy("'<f4'", "()", size=4), r"has shape \(\), expected three axes"),
    "false numbers": (npy("'<f4'", "(True, 2, 4)", size=32), "is not a .npy array|captions"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_npy_headers(tmp_path, case):
    content, message = HEADERS[case]
    write_split(tmp_path, full=False)
    (tmp_path / "train_ims.npy").write_bytes(content)
    with pytest.raises(DataError, match=rf"train_ims.npy.*({message})"):
        load_dataset(tmp_path, "train")


def whole(file):
    file["train/ims"], file["train/caps"] = FEATURES, ["a", "b", "c"]


def replaced(key, value):
    def write(file):
        whole(file)
        del file[key]
        file[key] = value

    return write


def external(file):
    whole(file)
    del file["train/ims"]
    name = file.filename.replace("a.h5", "outside")
    open(name, "wb").write(FEATURES.tobytes())
    file.create_dataset("train/ims", (3, 2, 4), "f4", external=[(name, 0, 96)])


def virtual(file):
    whole(file)
    del file["train/ims"]
    layout = h5py.VirtualLayout((3, 2, 4), "f4")
    layout[:] = h5py.VirtualSource(file.filename.replace("a.h5", "b.h5"), "ims", (3, 2, 4))
    file.create_virtual_dataset("train/ims", layout)


def external_link(file):
    whole(file)
    del file["train/ims"]
    other = file.filename.replace("a.h5", "b.h5")
    with h5py.File(other, "w") as there:
        there["ims"] = FEATURES
    file["train/ims"] = h5py.ExternalLink(other, "/ims")


def endless(key, shape, dtype="f4"):
    def write(file):
        whole(file)
        if key in file:
            del file[key]
        file.create_dataset(key, shape, dtype, chunks=tuple(min(n, 8) for n in shape))

    return write


def a_group(file):
    whole(file)
    del file["train/ims"]
    file.create_group("train/ims")


PARTS = {
    "a group": (a_group, "/train/ims is a group"),
    "empty features": (replaced("train/ims", h5py.Empty("f4")), "/train/ims is empty: it has no"),
    "empty captions": (replaced("train/caps", h5py.Empty("f4")), "/train/caps is empty"),
    "one caption": (replaced("train/caps", "text"), "/train/caps is object of shape"),
    "one number": (replaced("train/ims", 3.0), "/train/ims is float64"),
    "values elsewhere": (external, "/train/ims lies in another file, expected the values in"),
    "a view of another file": (virtual, "/train/ims lies in another file"),
    "a link to another file": (external_link, "/train/ims lies in another file"),
    "a link to nothing": (
        replaced("train/ims", h5py.SoftLink("/none")),
        "/train/ims cannot be found|/train lacks ims",
    ),
    "a link to no file": (
        replaced("train/ims", h5py.ExternalLink("none.h5", "/ims")),
        "/train/ims lies in another file",
    ),
    "a link to itself": (
        replaced("train/ims", h5py.SoftLink("/train/ims")),
        "cannot be read as HDF5: Special link",
    ),
    "endless features": (
        endless("train/ims", (2**50, 2, 4)),
        "/train/ims has shape .*, more than a file of .* bytes holds: it is damaged",
    ),
    "endless regions": (endless("train/ims", (3, 2**40, 4)), "/train/ims has shape .*, more than"),
    "endless captions": (
        endless("train/caps", (2**50,), h5py.string_dtype()),
        "/train/caps has shape .*, more than a file of",
    ),
    "endless counts": (endless("train/num_regions", (2**50,), "i4"), "/train/num_regions has sha"),
    "counts of all regions": (
        endless("train/num_regions", (3, 2**40), "i4"),
        r"/train/num_regions has shape \(3, 1099511627776\), more than a file of",
    ),
}


@pytest.mark.parametrize("case", PARTS)
def test_hdf5_parts(tmp_path, case):
    write, message = PARTS[case]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write(file)
    with pytest.raises(DataError, match=rf"a.h5.*({message})"):
        load_dataset(tmp_path / "a.h5", "train")
