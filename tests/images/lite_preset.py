"""EfficientNet-Lite as KerasHub builds it, saved as a preset.

The weights are those of `tests.images.efficientnet_lite`, the layers are not: what both make of a
photograph must be the same.

    python -m tests.images.lite_preset 0 lite0_preset
"""

import sys
from pathlib import Path

import keras_hub

from tests.images.efficientnet_lite import read_pth, weights_file

_KERNELS = [3, 3, 5, 3, 5, 5, 3]
_INPUTS = {0: [32, 16, 24, 40, 80, 112, 192], 2: [32, 16, 24, 48, 88, 120, 208]}
_OUTPUTS = {0: [16, 24, 40, 80, 112, 192, 320], 2: [16, 24, 48, 88, 120, 208, 352]}
_REPEATS = {0: [1, 2, 2, 3, 3, 4, 1], 2: [1, 3, 3, 4, 4, 5, 1]}


def build_preset(variant: int) -> keras_hub.models.EfficientNetBackbone:
    """The network. KerasHub's own blocks `v1` pad as PyTorch does, `unfused` ones as these weights
    were trained; the first block has no expansion, which only `v1` leaves out, and no stride."""
    network = keras_hub.models.EfficientNetBackbone(
        stackwise_width_coefficients=[1.0] * 7,
        stackwise_depth_coefficients=[1.0] * 7,
        stackwise_kernel_sizes=_KERNELS,
        stackwise_num_repeats=_REPEATS[variant],
        stackwise_input_filters=_INPUTS[variant],
        stackwise_output_filters=_OUTPUTS[variant],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_squeeze_and_excite_ratios=[0] * 7,
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        stackwise_block_types=["v1"] + ["unfused"] * 6,
        dropout=0,
        activation="relu6",
        include_stem_padding=False,
        stem_conv_padding="same",
        batch_norm_epsilon=1e-3,
    )
    tensors = read_pth(weights_file(variant))

    def fill(conv, conv_name: str, norm, norm_name: str) -> None:
        depthwise = "depthwise" in conv_name
        kernel = tensors[f"{conv_name}.weight"].transpose(2, 3, *((0, 1) if depthwise else (1, 0)))
        conv.set_weights([kernel])
        parts = ("weight", "bias", "running_mean", "running_var")
        norm.set_weights([tensors[f"{norm_name}.{part}"] for part in parts])

    layer = network.get_layer
    fill(layer("stem_conv"), "_conv_stem", layer("stem_bn"), "_bn0")
    first = "_blocks.0."
    fill(
        layer("block1a_dwconv"),
        first + "_depthwise_conv",
        layer("block1a_dwconv_bn"),
        first + "_bn1",
    )
    fill(
        layer("block1a_project"),
        first + "_project_conv",
        layer("block1a_project_bn"),
        first + "_bn2",
    )
    blocks = [
        layer(f"block{stage}{chr(ord('a') + repeat)}_")
        for stage in range(2, 8)
        for repeat in range(_REPEATS[variant][stage - 1])
    ]
    for number, block in enumerate(blocks, 1):
        name = f"_blocks.{number}."
        fill(block.conv1, name + "_expand_conv", block.bn1, name + "_bn0")
        fill(block.depthwise, name + "_depthwise_conv", block.bn2, name + "_bn1")
        fill(block.output_conv, name + "_project_conv", block.bn3, name + "_bn2")
    fill(layer("top_conv"), "_conv_head", layer("top_bn"), "_bn1")
    return network


def write_preset(variant: int, folder: Path) -> Path:
    """Saves the network and what it wants done with pixels: (x - 127) / 128."""
    build_preset(variant).save_to_preset(str(folder))
    scaling = {"scale": 1 / 128, "offset": -127 / 128}
    keras_hub.layers.EfficientNetImageConverter(**scaling).save_to_preset(str(folder))
    return folder


if __name__ == "__main__":
    write_preset(int(sys.argv[1]), Path(sys.argv[2]))
