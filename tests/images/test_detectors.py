import re

import keras
import keras_hub
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hslm_tf.data.errors import DataError
from hslm_tf.images.detections import cleaned
from hslm_tf.images.detectors.fitting import fitted
from hslm_tf.images.detectors.keras_hub_detector import KerasHubDetector
from hslm_tf.images.detectors.onnx_detector import OnnxDetector
from hslm_tf.images.extraction_config import ExtractionConfig
from hslm_tf.images.extractor import RegionExtractor
from hslm_tf.images.grid import grid_boxes


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
    floats = [helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT)]
    constants = [helper.make_tensor("first", TensorProto.INT64, [1], [0])]
    if len(shape) == 3:
        floats[0].output[0] = "one_image"
        floats.append(helper.make_node("Unsqueeze", ["one_image", "first"], ["floats"]))
    if shape[-3:] == [3, "height", "width"]:
        # What changes nothing, but only where sides can be halved five times.
        floats[-1].output[0] = "all"
        floats += [
            helper.make_node(
                "MaxPool", ["all"], ["small"], kernel_shape=[32, 32], strides=[32, 32]
            ),
            helper.make_node("Resize", ["small", "", "scales"], ["large"], mode="nearest"),
            helper.make_node("Min", ["all", "large"], ["floats"]),
        ]
        constants.append(helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, 32, 32]))
    bright = [
        helper.make_node("ReduceMax", ["floats"], ["grey"], axes=[channel], keepdims=0),
        helper.make_node("ReduceMax", ["grey"], ["in_rows"], axes=[2], keepdims=0),
        helper.make_node("ReduceMax", ["grey"], ["in_columns"], axes=[1], keepdims=0),
        helper.make_node("ReduceMax", ["grey"], ["most"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["most", "half"], ["limit"]),
    ]
    ends = []
    for name, side in (("in_columns", "x"), ("in_rows", "y")):
        ends += [
            helper.make_node("Greater", [name, "limit"], [f"{side}_bright"]),
            helper.make_node("NonZero", [f"{side}_bright"], [f"{side}_places"]),
            helper.make_node("Gather", [f"{side}_places", "one"], [f"{side}_all"], axis=0),
            helper.make_node("ReduceMin", [f"{side}_all"], [f"{side}_first"], keepdims=1),
            helper.make_node("ReduceMax", [f"{side}_all"], [f"{side}_last"], keepdims=1),
            helper.make_node("Add", [f"{side}_last", "one_more"], [f"{side}_end"]),
        ]
    sides = ["x_first", "y_first", "x_end", "y_end"]
    ends += [
        helper.make_node("Concat", sides, ["corners"], axis=0),
        helper.make_node("Reshape", ["corners", "a_row"], ["row"]),
        helper.make_node("Cast", ["row"], ["box"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["box", "nothing"], ["nowhere"]),
        helper.make_node("Concat", ["nowhere", "box"], ["two"], axis=0),
        helper.make_node("Mul", ["most", "half"], ["less"]),
        helper.make_node("Concat", ["less", "most"], ["confidence"], axis=0),
    ]
    constants += [
        helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5]),
        helper.make_tensor("nothing", TensorProto.FLOAT, [1], [0.0]),
        helper.make_tensor("one", TensorProto.INT64, [], [1]),
        helper.make_tensor("a_row", TensorProto.INT64, [2], [1, 4]),
        helper.make_tensor("one_more", TensorProto.INT64, [1], [1]),
    ]
    inputs = [("images", dtype, shape)]
    if kind == "numbered":
        constants.append(helper.make_tensor("classes", TensorProto.INT64, [2], [7, 8]))
        last = [
            helper.make_node("Identity", ["classes"], ["11"]),
            helper.make_node("Identity", ["confidence"], ["12"]),
            helper.make_node("Identity", ["two"], ["13"]),
        ]
        outputs = [
            ("11", TensorProto.INT64, ["n"]),
            ("12", TensorProto.FLOAT, ["n"]),
            ("13", TensorProto.FLOAT, ["n", 4]),
        ]
    elif kind == "separate":
        last = [
            helper.make_node("Identity", ["two"], ["boxes"]),
            helper.make_node("Identity", ["confidence"], ["scores"]),
        ]
        outputs = [("boxes", TensorProto.FLOAT, ["n", 4]), ("scores", TensorProto.FLOAT, ["n"])]
    else:
        constants += [
            helper.make_tensor("column", TensorProto.INT64, [2], [2, 1]),
            helper.make_tensor("batch", TensorProto.INT64, [3], [1, 2, 6]),
            helper.make_tensor("classes", TensorProto.FLOAT, [2, 1], [7, sixth]),
        ]
        last = [
            helper.make_node("Reshape", ["confidence", "column"], ["score"]),
            helper.make_node("Concat", ["two", "score", "classes"], ["rows"], axis=1),
            helper.make_node("Reshape", ["rows", "batch"], ["output0"]),
        ]
        outputs = [("output0", TensorProto.FLOAT, [1, 2, 6])]
    if asks_for_size:
        # As RT-DETR: boxes are made shares of the input, and those pixels of the size.
        inputs.append(("orig_target_sizes", TensorProto.INT64, [1, 2]))
        last[0] = helper.make_node("Mul", ["two", "growth"], ["boxes"])
        ends += [
            helper.make_node("Cast", ["orig_target_sizes"], ["sizes"], to=TensorProto.FLOAT),
            helper.make_node("Concat", ["sizes", "sizes"], ["all_sizes"], axis=1),
            helper.make_node("Div", ["all_sizes", "own_size"], ["growth"]),
        ]
        own = [shape[3], shape[2]] * 2
        constants.append(helper.make_tensor("own_size", TensorProto.FLOAT, [4], own))
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
    (found,) = OnnxDetector(path).detect([picture(*size)], ["a"])
    assert found.boxes.dtype == found.scores.dtype == np.float32
    # The detector's empty second box is dropped. A pixel of 80 is the best that it can see.
    assert found.boxes.shape == (1, 4)
    exact = np.array([size[1] // 2 / size[1], size[0] // 2 / size[0], 1, 1])
    np.testing.assert_allclose(found.boxes[0], exact, atol=1.6 * 2 / 80)
    np.testing.assert_allclose(found.scores, [1], atol=1e-3)


def test_pixels_of_bytes(tmp_path):
    path = bright_box(tmp_path / "b.onnx", [1, 80, 80, 3], "rows", TensorProto.UINT8)
    (found,) = OnnxDetector(path).detect([picture()], ["a"])
    assert found.scores[0] == 255


def test_pixels_of_half_precision(tmp_path):
    path = bright_box(tmp_path / "b.onnx", [1, 3, 80, 80], "rows", TensorProto.FLOAT16)
    (found,) = OnnxDetector(path).detect([picture()], ["a"])
    np.testing.assert_allclose(found.boxes[0], [0.5, 0.5, 1, 1], atol=0.04)
    np.testing.assert_allclose(found.scores, [1], atol=1e-3)


def test_a_very_long_photograph(tmp_path):
    path = bright_box(tmp_path / "b.onnx", LAYOUTS["any size"], "numbered")
    image = np.repeat(picture(10, 5000)[5:], 2, axis=0)
    (found,) = OnnxDetector(path).detect([image], ["a"])
    np.testing.assert_allclose(found.boxes, [[0.5, 0, 1, 1]], atol=0.01)


def test_rows_that_are_not_final(tmp_path):
    path = bright_box(tmp_path / "b.onnx", [1, 3, 80, 80], "rows", sixth=0.25)
    with pytest.raises(DataError, match="b.onnx: the sixth number of a row is 0.25, no class"):
        OnnxDetector(path).detect([picture()], ["a"])


def test_weights_beside_the_file_count(tmp_path):
    path = bright_box(tmp_path / "b.onnx", [1, 3, 80, 80], "rows")
    alone = OnnxDetector(path).fingerprint
    assert alone == OnnxDetector(path).fingerprint and len(alone) == 64
    (tmp_path / "b.onnx.data").write_bytes(b"weights")
    assert OnnxDetector(path).fingerprint != alone


def test_a_detector_that_asks_for_the_size(tmp_path):
    path = bright_box(tmp_path / "b.onnx", [1, 3, 60, 100], "separate", asks_for_size=True)
    for size in ((60, 120), (200, 50)):
        (found,) = OnnxDetector(path).detect([picture(*size)], ["a"])
        np.testing.assert_allclose(found.boxes[0], [0.5, 0.5, 1, 1], atol=2 / 60)
        # Nothing but the photograph is shown to it.
        (dark,) = OnnxDetector(path).detect([picture(*size) // 5], ["a"])
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
        node = helper.make_node("ConstantOfShape", ["of"], ["y"])
        of = helper.make_tensor("of", TensorProto.INT64, [len(made)], made)
        kinds = [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, made)]
        path = save(tmp_path / f"{name}.onnx", [node], *kinds, [of])
        error = f"{name}.onnx takes x {shape} tensor(float) and makes y {made} tensor(float); read"
        with pytest.raises(DataError, match=re.escape(error)):
            OnnxDetector(path)


def test_boxes_that_are_not_final(tmp_path):
    """DETR's: boxes beside raw scores of every class, and boxes of another number than scores."""
    shape = [1, 3, 80, 80]
    sizes = {"logits": [1, 300, 92], "pred_boxes": [1, 300, 4], "boxes": [5, 4], "scores": [6]}

    def detector(*names):
        nodes = [helper.make_node("ConstantOfShape", [f"of {n}"], [n]) for n in names]
        tensors = [
            helper.make_tensor(f"of {n}", TensorProto.INT64, [len(sizes[n])], sizes[n])
            for n in names
        ]
        outputs = [(n, TensorProto.FLOAT, sizes[n]) for n in names]
        return save(tmp_path / "d.onnx", nodes, [("x", TensorProto.FLOAT, shape)], outputs, tensors)

    with pytest.raises(DataError, match="makes logits .* pred_boxes .*; readable"):
        OnnxDetector(detector("logits", "pred_boxes"))
    with pytest.raises(DataError, match=r"d.onnx makes outputs of \[5, 4\], \[6\]; readable"):
        OnnxDetector(detector("boxes", "scores")).detect([picture()], ["a"])


def test_detections_are_cleaned():
    boxes = [
        [0.1, 0.1, 0.5, 0.5],
        [-0.5, 0.5, 0.5, 1.5],
        [np.nan, 0, 1, 1],
        [0.5, 0, 0.5, 1],
        [0, 0, 1, 1],
        [1.2, 0, 1.4, 1],
        [0, 0, 0.5, 1],
    ]
    found = cleaned(np.array(boxes), np.array([0.3, 0.9, 0.8, 0.7, np.inf, 0.6, 0.3]))
    np.testing.assert_allclose(
        found.boxes, np.array([[0, 0.5, 0.5, 1], boxes[0], boxes[6]], np.float32)
    )
    np.testing.assert_allclose(found.scores, [0.9, 0.3, 0.3])
    assert cleaned(np.zeros((0, 4)), np.zeros(0)).boxes.shape == (0, 4)


@pytest.mark.parametrize("keep", [True, False])
def test_photographs_are_fitted(keep):
    pixels, scale = fitted(picture(60, 120), 64, 96, keep)
    assert pixels.shape == (64, 96, 3)
    np.testing.assert_array_equal(scale, [96, 48, 96, 48] if keep else [96, 64, 96, 64])
    assert (pixels[48:] == 114).all() == keep
    assert pixels[40, 90, 0] == 255 and pixels[5, 5, 0] == 0


@pytest.fixture(scope="module")
def retina_net(tmp_path_factory):
    """A small RetinaNet with weights of its own, saved as a preset."""
    keras.utils.set_random_seed(4)
    encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64, 64],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    network = keras_hub.models.RetinaNetBackbone(
        image_encoder=encoder, min_level=3, max_level=5, use_p5=False
    )
    converter = keras_hub.layers.RetinaNetImageConverter(
        image_size=(128, 96), scale=1 / 255, crop_to_aspect_ratio=False, pad_to_aspect_ratio=True
    )
    preprocessor = keras_hub.models.RetinaNetObjectDetectorPreprocessor(image_converter=converter)
    detector = keras_hub.models.RetinaNetObjectDetector(
        backbone=network,
        num_classes=3,
        preprocessor=preprocessor,
        bounding_box_format="yxyx",
        classification_head_prior_probability=0.3,
    )
    folder = tmp_path_factory.mktemp("preset") / "retina"
    detector.save_to_preset(folder)
    return folder, detector


def test_a_detector_of_keras_hub(retina_net):
    folder, detector = retina_net
    made = KerasHubDetector(str(folder))
    images = [picture(64, 96), picture(256, 192)]
    found = made.detect(images, ["a", "b"])
    # The second photograph has the proportions of the input: boxes are those of the detector.
    detector.prediction_decoder.confidence_threshold = 0.05
    direct = detector.predict(fitted(images[1], 128, 96, True).pixels[None], verbose=0)
    count = direct["num_detections"][0]
    assert count > 5
    y0, x0, y1, x1 = (direct["boxes"][0, :count] / [128, 96, 128, 96]).T
    expected = cleaned(np.stack([x0, y0, x1, y1], 1), direct["confidence"][0, :count])
    np.testing.assert_allclose(found[1].boxes, expected.boxes, atol=1e-4)
    np.testing.assert_allclose(found[1].scores, expected.scores, atol=1e-4)
    for detections in found:
        assert (np.diff(detections.scores) <= 0).all() and len(detections.boxes)
        assert detections.boxes.min() >= 0 and detections.boxes.max() <= 1


def test_what_is_no_preset_of_a_detector():
    with pytest.raises(OSError, match="no_such is no KerasHub preset of a detector"):
        KerasHubDetector("./no_such")


def test_the_extractor_asks_the_detector(tiny_backbone, tmp_path, retina_net):
    path = bright_box(tmp_path / "bright.onnx", [1, 3, 80, 80], "separate")
    config = ExtractionConfig(str(tiny_backbone), size=64, boxes=str(path))
    made = RegionExtractor(config)
    features, boxes, counts = made.extract([picture(), picture()])
    assert counts.tolist() == [31, 31]
    np.testing.assert_allclose(boxes[0, 0], [0.5, 0.5, 1, 1], atol=0.04)
    np.testing.assert_array_equal(boxes[0, 1:31], grid_boxes())
    assert made.config.fingerprint.endswith(OnnxDetector(path).fingerprint)
    hub = RegionExtractor(
        ExtractionConfig(str(tiny_backbone), size=64, boxes=str(retina_net[0]), fill=False)
    )
    features, boxes, counts = hub.extract([picture(64, 96)])
    expected = KerasHubDetector(str(retina_net[0])).detect([picture(64, 96)], [""])[0]
    np.testing.assert_array_equal(boxes[0, : counts[0]], expected.boxes[:36])
