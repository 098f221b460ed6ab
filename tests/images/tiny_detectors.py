"""Detectors of KerasHub with few weights, which are random."""

from pathlib import Path

import keras
import keras_hub
import numpy as np

# Not square, so that a mistaken order of height and width shows.
SIZE = (96, 128)
SCALE = 1 / 255


def retinanet(box_format: str) -> keras_hub.models.RetinaNetObjectDetector:
    encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[8],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64] * 4,
        stackwise_num_blocks=[1] * 4,
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
        image_shape=(None, None, 3),
    )
    converter = keras_hub.layers.RetinaNetImageConverter(
        image_size=SIZE, pad_to_aspect_ratio=True, crop_to_aspect_ratio=False, scale=SCALE
    )
    detector = keras_hub.models.RetinaNetObjectDetector(
        keras_hub.models.RetinaNetBackbone(encoder, min_level=3, max_level=5, use_p5=False),
        num_classes=3,
        bounding_box_format=box_format,
        pre_logits_num_conv_layers=1,
        preprocessor=keras_hub.models.RetinaNetObjectDetectorPreprocessor(converter),
    )
    _draw(detector)
    return detector


def d_fine(box_format: str) -> keras_hub.models.DFineObjectDetector:
    network = keras_hub.models.HGNetV2Backbone(
        stem_channels=[3, 8, 8],
        stackwise_stage_filters=[
            [8, 8, 16, 1, 1, 3],
            [16, 8, 32, 1, 1, 3],
            [32, 16, 64, 1, 1, 3],
            [64, 16, 64, 1, 1, 3],
        ],
        apply_downsample=[False, True, True, True],
        use_lightweight_conv_block=[False, False, True, True],
        depths=[1] * 4,
        hidden_sizes=[16, 32, 64, 64],
        embedding_size=8,
        use_learnable_affine_block=True,
        hidden_act="relu",
        image_shape=(None, None, 3),
        out_features=["stage3", "stage4"],
    )
    backbone = keras_hub.models.DFineBackbone(
        backbone=network,
        decoder_in_channels=[32, 32],
        encoder_hidden_dim=32,
        num_denoising=0,
        num_labels=3,
        hidden_dim=32,
        learn_initial_query=False,
        num_queries=20,
        anchor_image_size=SIZE,
        feat_strides=[16, 32],
        num_feature_levels=2,
        encoder_in_channels=[64, 64],
        encode_proj_layers=[1],
        num_attention_heads=4,
        encoder_ffn_dim=32,
        num_encoder_layers=1,
        hidden_expansion=0.34,
        depth_multiplier=0.5,
        eval_idx=-1,
        num_decoder_layers=2,
        decoder_attention_heads=4,
        decoder_ffn_dim=32,
        decoder_n_points=[2, 2],
        lqe_hidden_dim=16,
        num_lqe_layers=2,
        out_features=["stage3", "stage4"],
        image_shape=(None, None, 3),
    )
    converter = keras_hub.layers.DFineImageConverter(image_size=SIZE, scale=SCALE)
    detector = keras_hub.models.DFineObjectDetector(
        backbone,
        num_classes=3,
        bounding_box_format=box_format,
        preprocessor=keras_hub.models.DFineObjectDetectorPreprocessor(converter),
    )
    _draw(detector)
    return detector


def save(detector: keras.Model, folder: Path) -> str:
    detector.save_to_preset(str(folder))
    return str(folder)


def _draw(detector: keras.Model) -> None:
    """Weights that spread scores and boxes, the same for every format of boxes."""
    rng = np.random.default_rng(0)
    for variable in detector.trainable_variables:
        if len(variable.shape) > 1:
            spread = np.prod(variable.shape[:-1]) ** -0.5
            variable.assign(rng.normal(0, spread, variable.shape))
        elif variable.name == "bias":
            variable.assign(np.zeros(variable.shape))
