import re

import numpy as np
import onnx
import onnx.parser
import pytest

from hslm_tf.data.errors import DataError
from hslm_tf.images.extraction_config import ExtractionConfig
from hslm_tf.images.extractor import RegionExtractor
from hslm_tf.images.onnx_detector import OnnxDetector
from hslm_tf.images.regions import grid_boxes


def picture(height: int = 60, width: int = 120) -> np.ndarray:
    """Black, with a white quarter at the bottom right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[height // 2 :, width // 2 :] = 255
    return image


def save(path, inputs, outputs, steps, constants=""):
    """Writes a graph in ONNX's own language."""
    text = f"""<ir_version: 8, opset_import: ["": 17]>
        detector ({inputs}) => ({outputs}) <{constants}> {{ {" ".join(steps)} }}"""
    model = onnx.parser.parse_model(text)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


BRIGHT = """
    grey = ReduceMax <axes = [CHANNEL], keepdims = 0> (floats)
    x = ReduceMax <axes = [1], keepdims = 0> (grey)
    y = ReduceMax <axes = [2], keepdims = 0> (grey)
    most = ReduceMax <axes = [1, 2], keepdims = 0> (grey)
    less = Mul (most, half)
    confidence = Concat <axis = 0> (less, most)
"""
ENDS = """
    SIDE_bright = Greater (SIDE, less)
    SIDE_places = NonZero (SIDE_bright)
    SIDE_all = Gather <axis = 0> (SIDE_places, one)
    SIDE_first = ReduceMin <keepdims = 1> (SIDE_all)
    SIDE_last = ReduceMax <keepdims = 1> (SIDE_all)
    SIDE_end = Add (SIDE_last, one_more)
"""
BOXES = """
    corners = Concat <axis = 0> (x_first, y_first, x_end, y_end)
    row = Reshape (corners, a_row)
    box = Cast <to = 1> (row)
    nowhere = Mul (box, nothing)
    two = Concat <axis = 0> (nowhere, box)
"""
# What changes nothing, but only where sides can be halved five times.
HALVED = """
    small = MaxPool <kernel_shape = [32, 32], strides = [32, 32]> (batched)
    large = Resize <mode = "nearest"> (small, , scales)
    floats = Min (batched, large)
"""
# As RT-DETR: boxes are made shares of the input, and those pixels of the size.
SCALED = """
    sizes = Cast <to = 1> (orig_target_sizes)
    all_sizes = Concat <axis = 1> (sizes, sizes)
    growth = Div (all_sizes, input_size)
    boxes = Mul (two, growth)
"""
KINDS = {
    "separate": (
        "float[n, 4] boxes, float[n] scores",
        "scores = Identity (confidence) boxes = Identity (two)",
    ),
    # Those of torchvision, without names.
    "numbered": (
        "int64[n] o11, float[n] o12, float[n, 4] o13",
        "o11 = Identity (labels) o12 = Identity (confidence) o13 = Identity (two)",
    ),
    "rows": (
        "float[1, 2, 6] output0",
        "score = Reshape (confidence, column) rows = Concat <axis = 1> (two, score, classes) "
        "output0 = Reshape (rows, batch)",
    ),
}


def bright_box(path, shape, kind, dtype="float", takes_size=False, sixth=8):
    """A detector that finds the smallest box around all bright pixels, and one around nothing.

    The scores are the brightness and its half.
    """
    inputs = f"{dtype}[{', '.join(map(str, shape))}] images"
    outputs, last = KINDS[kind]
    sides = [shape[-1], shape[-2]] if takes_size else [1, 1]
    constants = f"""
        int64[1] first = {{0}}, float[4] scales = {{1, 1, 32, 32}}, float[1] half = {{0.5}},
        float[1] nothing = {{0}}, int64 one = {{1}}, int64[1] one_more = {{1}},
        int64[2] a_row = {{1, 4}}, int64[2] labels = {{7, 8}}, int64[2] column = {{2, 1}},
        int64[3] batch = {{1, 2, 6}}, float[2, 1] classes = {{7, {sixth}}},
        float[4] input_size = {{{sides[0]}, {sides[1]}, {sides[0]}, {sides[1]}}}"""
    if takes_size:
        inputs += ", int64[1, 2] orig_target_sizes"
        last = last.replace("boxes = Identity (two)", SCALED)
    steps = [
        "given = Cast <to = 1> (images)",
        f"batched = {'Unsqueeze (given, first)' if len(shape) == 3 else 'Identity (given)'}",
        HALVED if shape[-3:] == [3, "height", "width"] else "floats = Identity (batched)",
        BRIGHT.replace("CHANNEL", "3" if shape[-1] == 3 else "1"),
        *(ENDS.replace("SIDE", side) for side in "xy"),
        BOXES,
        last,
    ]
    return save(path, inputs, outputs, steps, constants)


LAYOUTS = {
    "channels first": [1, 3, 80, 80],
    "channels last": [1, 80, 80, 3],
    "any size": [1, 3, "height", "width"],
    "any size, channels last": ["batch", "height", "width", 3],
    "any size, not one of many": [3, "height", "width"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["separate", "numbered", "rows"])
@pytest.mark.parametrize("size", [(60, 120), (120, 60), (7, 9), (700, 900)])
def test_boxes_are_shares_of_the_photograph(tmp_path, layout, kind, size):
    path = bright_box(tmp_path / "bright.onnx", LAYOUTS[layout], kind)
    found = OnnxDetector(path).detect(picture(*size), "a")
    assert found.boxes.dtype == found.scores.dtype == np.float32
    # The detector's empty second box is dropped. A pixel of 80 is the best that it can see.
    assert found.boxes.shape == (1, 4)
    exact = np.array([size[1] // 2 / size[1], size[0] // 2 / size[0], 1, 1])
    np.testing.assert_allclose(found.boxes[0], exact, atol=1.6 * 2 / 80)
    np.testing.assert_allclose(found.scores, [1], atol=1e-3)


@pytest.mark.parametrize("dtype, score", [("uint8", 255), ("float16", 1)])
def test_pixels_of_other_types(tmp_path, dtype, score):
    path = bright_box(tmp_path / "b.onnx", [1, 3, 80, 80], "rows", dtype)
    found = OnnxDetector(path).detect(picture(), "a")
    np.testing.assert_allclose(found.boxes[0], [0.5, 0.5, 1, 1], atol=0.04)
    np.testing.assert_allclose(found.scores, [score], atol=1e-3)


def test_a_very_long_photograph(tmp_path):
    path = bright_box(tmp_path / "b.onnx", LAYOUTS["any size"], "numbered")
    image = np.repeat(picture(10, 5000)[5:], 2, axis=0)
    found = OnnxDetector(path).detect(image, "a")
    np.testing.assert_allclose(found.boxes, [[0.5, 0, 1, 1]], atol=0.01)


def test_rows_that_are_not_final(tmp_path):
    path = bright_box(tmp_path / "b.onnx", [1, 3, 80, 80], "rows", sixth=0.25)
    with pytest.raises(DataError, match="b.onnx: the sixth number of a row is 0.25, no class"):
        OnnxDetector(path).detect(picture(), "a")


def test_weights_beside_the_file_count(tmp_path):
    path = bright_box(tmp_path / "b.onnx", [1, 3, 80, 80], "rows")
    alone = OnnxDetector(path).fingerprint
    assert alone == OnnxDetector(path).fingerprint and len(alone) == 64
    (tmp_path / "b.onnx.data").write_bytes(b"weights")
    assert OnnxDetector(path).fingerprint != alone


def test_a_detector_that_takes_the_size(tmp_path):
    path = bright_box(tmp_path / "b.onnx", [1, 3, 60, 100], "separate", takes_size=True)
    for size in ((60, 120), (200, 50)):
        found = OnnxDetector(path).detect(picture(*size), "a")
        np.testing.assert_allclose(found.boxes[0], [0.5, 0.5, 1, 1], atol=2 / 60)
        # Nothing but the photograph is shown to it.
        dark = OnnxDetector(path).detect(picture(*size) // 5, "a")
        np.testing.assert_allclose(dark.scores, [0.2])


def test_what_is_no_detector(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(DataError, match="bad.onnx is no ONNX model that can be run"):
        OnnxDetector(tmp_path / "bad.onnx")
    with pytest.raises(FileNotFoundError):
        OnnxDetector(tmp_path / "none.onnx")
    for name, shape, made in (
        ("table", [1, 10], [1, 10]),
        ("grey", [1, 80, 80, 1], [1, 80, 80, 1]),
        # A YOLO's raw output.
        ("raw", [1, 3, 80, 80], [1, 84, 8400]),
        ("classifier", [1, 3, 80, 80], [1, 1000]),
    ):
        path = save(tmp_path / f"{name}.onnx", f"float{shape} x", f"float{made} y", *zeros(y=made))
        error = f"{name}.onnx takes x {shape} tensor(float) and makes y {made} tensor(float); read"
        with pytest.raises(DataError, match=re.escape(error)):
            OnnxDetector(path)


def zeros(**shapes):
    """Steps and constants that make outputs of zeros."""
    steps = [f"{name} = ConstantOfShape (of_{name})" for name in shapes]
    constants = [
        f"int64[{len(shape)}] of_{name} = {{{str(shape)[1:-1]}}}" for name, shape in shapes.items()
    ]
    return steps, ", ".join(constants)


@pytest.mark.parametrize(
    "shapes, error",
    [
        # DETR's: boxes beside raw scores of every class.
        (
            {"logits": [1, 300, 92], "pred_boxes": [1, 300, 4]},
            "takes x .* and makes logits .* pred_boxes .*; readable",
        ),
        ({"boxes": [5, 4], "scores": [6]}, r"makes outputs of \[5, 4\], \[6\]; readable"),
    ],
)
def test_boxes_that_are_not_final(tmp_path, shapes, error):
    outputs = ", ".join(f"float{shape} {name}" for name, shape in shapes.items())
    path = save(tmp_path / "d.onnx", "float[1, 3, 80, 80] x", outputs, *zeros(**shapes))
    with pytest.raises(DataError, match=f"d.onnx {error}"):
        OnnxDetector(path).detect(picture(), "a")


def test_the_extractor_adds_the_grid_to_detections(tiny_backbone, tmp_path):
    path = bright_box(tmp_path / "bright.onnx", [1, 3, 80, 80], "separate")
    extractor = RegionExtractor(ExtractionConfig(str(tiny_backbone), size=64, boxes=str(path)))
    _, boxes, counts = extractor.extract([picture(), picture()])
    assert counts.tolist() == [31, 31]
    np.testing.assert_allclose(boxes[0, 0], [0.5, 0.5, 1, 1], atol=0.04)
    np.testing.assert_array_equal(boxes[0, 1:31], grid_boxes())
    assert extractor.config.fingerprint.endswith(OnnxDetector(path).fingerprint)
