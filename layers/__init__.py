"""Keras layers of HSLM, one per file."""

# ruff: noqa: E402
import hslm_tf

hslm_tf.use_tensorflow()

from hslm_tf.layers.attention_pooling import AttentionPooling
from hslm_tf.layers.bidirectional_gru import BidirectionalGRU
from hslm_tf.layers.by_length import ByLength
from hslm_tf.layers.cross_attention import CrossAttention
from hslm_tf.layers.graph_conv import GraphConv
from hslm_tf.layers.l2_normalization import L2Normalization
from hslm_tf.layers.mgcn import MGCN
from hslm_tf.layers.self_attention import SelfAttention
from hslm_tf.layers.similarity import SimilarityRepresentation
from hslm_tf.layers.similarity_fusion import SimilarityFusion
from hslm_tf.layers.size_augmentation import RegionDropping, WordDropping
from hslm_tf.layers.special_tokens import SpecialTokens

__all__ = [
    "MGCN",
    "AttentionPooling",
    "BidirectionalGRU",
    "ByLength",
    "CrossAttention",
    "GraphConv",
    "L2Normalization",
    "RegionDropping",
    "SelfAttention",
    "SimilarityFusion",
    "SimilarityRepresentation",
    "SpecialTokens",
    "WordDropping",
]
