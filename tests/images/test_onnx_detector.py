import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.helper import make_node as node
from onnx.helper import make_tensor as tensor

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


def save(path, nodes, inputs, outputs, constants=()):
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        list(constants),
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def bright_box(path, shape, kind, dtype=TensorProto.FLOAT, asks_for_size=False, sixth=8):
    """A detector that finds the smallest box around all bright pixels, and one around nothing.

    The scores are the brightness and its half. The kinds: `separate` has outputs with names,
    `numbered` those of torchvision without, `rows` one output.
    """
    channel = 3 if shape[-1] == 3 else 1
    floats = [node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT)]
    constants = [tensor("first", TensorProto.INT64, [1], [0])]
    if len(shape) == 3:
        floats[0].output[0] = "one_image"
        floats.append(node("Unsqueeze", ["one_image", "first"], ["floats"]))
    if shape[-3:] == [3, "height", "width"]:
        # What changes nothing, but only where sides can be halved five times.
        floats[-1].output[0] = "all"
        floats += [
            node("MaxPool", ["all"], ["small"], kernel_shape=[32, 32], strides=[32, 32]),
            node("Resize", ["small", "", "scales"], ["large"], mode="nearest"),
            node("Min", ["all", "large"], ["floats"]),
        ]
        constants.append(tensor("scales", TensorProto.FLOAT, [4], [1, 1, 32, 32]))
    bright = [
        node("ReduceMax", ["floats"], ["grey"], axes=[channel], keepdims=0),
        node("ReduceMax", ["grey"], ["in_rows"], axes=[2], keepdims=0),
        node("ReduceMax", ["grey"], ["in_columns"], axes=[1], keepdims=0),
        node("ReduceMax", ["grey"], ["most"], axes=[1, 2], keepdims=0),
        node("Mul", ["most", "half"], ["limit"]),
    ]
    ends = []
    for name, side in (("in_columns", "x"), ("in_rows", "y")):
        ends += [
            node("Greater", [name, "limit"], [f"{side}_bright"]),
            node("NonZero", [f"{side}_bright"], [f"{side}_places"]),
            node("Gather", [f"{side}_places", "one"], [f"{side}_all"], axis=0),
            node("ReduceMin", [f"{side}_all"], [f"{side}_first"], keepdims=1),
            node("ReduceMax", [f"{side}_all"], [f"{side}_last"], keepdims=1),
            node("Add", [f"{side}_last", "one_more"], [f"{side}_end"]),
        ]
    sides = ["x_first", "y_first", "x_end", "y_end"]
    ends += [
        node("Concat", sides, ["corners"], axis=0),
        node("Reshape", ["corners", "a_row"], ["row"]),
        node("Cast", ["row"], ["box"], to=TensorProto.FLOAT),
        node("Mul", ["box", "nothing"], ["nowhere"]),
        node("Concat", ["nowhere", "box"], ["two"], axis=0),
        node("Mul", ["most", "half"], ["less"]),
        node("Concat", ["less", "most"], ["confidence"], axis=0),
    ]
    constants += [
        tensor("half", TensorProto.FLOAT, [1], [0.5]),
        tensor("nothing", TensorProto.FLOAT, [1], [0.0]),
        tensor("one", TensorProto.INT64, [], [1]),
        tensor("a_row", TensorProto.INT64, [2], [1, 4]),
        tensor("one_more", TensorProto.INT64, [1], [1]),
    ]
    inputs = [("images", dtype, shape)]
    if kind == "numbered":
        constants.append(tensor("classes", TensorProto.INT64, [2], [7, 8]))
        last = [
            node("Identity", ["classes"], ["11"]),
            node("Identity", ["confidence"], ["12"]),
            node("Identity", ["two"], ["13"]),
        ]
        outputs = [
            ("11", TensorProto.INT64, ["n"]),
            ("12", TensorProto.FLOAT, ["n"]),
            ("13", TensorProto.FLOAT, ["n", 4]),
        ]
    elif kind == "separate":
        last = [
            node("Identity", ["two"], ["boxes"]),
            node("Identity", ["confidence"], ["scores"]),
        ]
        outputs = [("boxes", TensorProto.FLOAT, ["n", 4]), ("scores", TensorProto.FLOAT, ["n"])]
    else:
        constants += [
            tensor("column", TensorProto.INT64, [2], [2, 1]),
            tensor("batch", TensorProto.INT64, [3], [1, 2, 6]),
            tensor("classes", TensorProto.FLOAT, [2, 1], [7, sixth]),
        ]
        last = [
            node("Reshape", ["confidence", "column"], ["score"]),
            node("Concat", ["two", "score", "classes"], ["rows"], axis=1),
            node("Reshape", ["rows", "batch"], ["output0"]),
        ]
        outputs = [("output0", TensorProto.FLOAT, [1, 2, 6])]
    if asks_for_size:
        # As RT-DETR: boxes are made shares of the input, and those pixels of the size.
        inputs.append(("orig_target_sizes", TensorProto.INT64, [1, 2]))
        last[0] = node("Mul", ["two", "growth"], ["boxes"])
        ends += [
            node("Cast", ["orig_target_sizes"], ["sizes"], to=TensorProto.FLOAT),
            node("Concat", ["sizes", "sizes"], ["all_sizes"], axis=1),
            node("Div", ["all_sizes", "own_size"], ["growth"]),
        ]
        own = [shape[3], shape[2]] * 2
        constants.append(tensor("own_size", TensorProto.FLOAT, [4], own))
    return save(path, [*floats, *bright, *ends, *last], inputs, outputs, constants)


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


@pytest.mark.parametrize("dtype, score", [(TensorProto.UINT8, 255), (TensorProto.FLOAT16, 1)])
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


def test_a_detector_that_asks_for_the_size(tmp_path):
    path = bright_box(tmp_path / "b.onnx", [1, 3, 60, 100], "separate", asks_for_size=True)
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
        constant = node("ConstantOfShape", ["of"], ["y"])
        of = tensor("of", TensorProto.INT64, [len(made)], made)
        kinds = [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, made)]
        path = save(tmp_path / f"{name}.onnx", [constant], *kinds, [of])
        error = f"{name}.onnx takes x {shape} tensor(float) and makes y {made} tensor(float); read"
        with pytest.raises(DataError, match=re.escape(error)):
            OnnxDetector(path)


def test_boxes_that_are_not_final(tmp_path):
    """DETR's: boxes beside raw scores of every class, and boxes of another number than scores."""
    shape = [1, 3, 80, 80]
    sizes = {"logits": [1, 300, 92], "pred_boxes": [1, 300, 4], "boxes": [5, 4], "scores": [6]}

    def detector(*names):
        nodes = [node("ConstantOfShape", [f"of {n}"], [n]) for n in names]
        tensors = [tensor(f"of {n}", TensorProto.INT64, [len(sizes[n])], sizes[n]) for n in names]
        outputs = [(n, TensorProto.FLOAT, sizes[n]) for n in names]
        return save(tmp_path / "d.onnx", nodes, [("x", TensorProto.FLOAT, shape)], outputs, tensors)

    with pytest.raises(DataError, match="makes logits .* pred_boxes .*; readable"):
        OnnxDetector(detector("logits", "pred_boxes"))
    with pytest.raises(DataError, match=r"d.onnx makes outputs of \[5, 4\], \[6\]; readable"):
        OnnxDetector(detector("boxes", "scores")).detect(picture(), "a")


def test_the_extractor_adds_the_grid_to_detections(tiny_backbone, tmp_path):
    path = bright_box(tmp_path / "bright.onnx", [1, 3, 80, 80], "separate")
    extractor = RegionExtractor(ExtractionConfig(str(tiny_backbone), size=64, boxes=str(path)))
    _, boxes, counts = extractor.extract([picture(), picture()])
    assert counts.tolist() == [31, 31]
    np.testing.assert_allclose(boxes[0, 0], [0.5, 0.5, 1, 1], atol=0.04)
    np.testing.assert_array_equal(boxes[0, 1:31], grid_boxes())
    assert extractor.config.fingerprint.endswith(OnnxDetector(path).fingerprint)
