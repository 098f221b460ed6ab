"""Matrix products that HSLM cannot do without, in GFLOP.

Products that can be merged count once; padding and elementwise operations do not count. What needs
gradients counts three times: forward, and backward to the input and to the weights.
docs/performance.md explains every line.
"""

from hslm_tf.config import ModelConfig


def training_step_work(
    config: ModelConfig, batch_size: int, tokens: int, loss: str = "triplet"
) -> dict[str, float]:
    """Counts the work of a training step on all pairs of the batch.

    Args:
        config: sizes and parts.
        batch_size: pairs of an image and a caption.
        tokens: real tokens of all captions together.
        loss: `"triplet"` scores all pairs without gradient and three for each pair of the batch
            with gradient, `"contrastive"` all pairs with gradient.

    Returns:
        GFLOP by part.
    """
    regions, width = config.max_regions, config.joint_dim
    rows, layers, words = batch_size * regions, config.mgcn_layers, config.word_dim
    pairs = 3 * batch_size
    mean_tokens = tokens / batch_size
    # No gradient flows to the features.
    parts = {"image projection": 2 * _product(rows, config.region_dim, width)}
    if config.mgcn:
        parts["image MGCN"] = (
            3
            * layers
            * (
                2 * _product(rows, width, width)
                + 2 * _product(width, width, width)
                + 2 * batch_size * _product(regions, regions, width)
            )
        )
        parts["text MGCN"] = (
            3 * layers * (2 * _product(tokens, words, words) + 2 * _product(words, words, words))
        )
    if config.self_attention:
        parts["self-attention"] = 3 * 3 * _product(tokens, words, words)
    parts["bidirectional GRU"] = 3 * 2 * _product(tokens, words + width, 3 * width)
    if config.global_alignment:
        parts["text pooling"] = 3 * _product(tokens, width, width)
    if config.pools_regions:
        parts["image pooling"] = 3 * _product(rows, width, width)
    elif config.global_alignment:
        parts["region products"] = _product(rows, width, width) + batch_size * _product(
            regions, regions, width
        )
    all_pairs = batch_size * batch_size * pair_work(config, mean_tokens)
    if loss == "contrastive":
        if "region products" in parts:
            # Here they have a gradient, too.
            parts["region products"] *= 3
        parts["all pairs"] = 3 * all_pairs
    else:
        parts["mining"] = all_pairs
        # For so few pairs, attended pooling multiplies queries instead of making region products.
        queries = 2 * _product(1, width, width) if "region products" in parts else 0
        parts["chosen pairs"] = 3 * pairs * (pair_work(config, mean_tokens) + queries)
    return {name: operations / 1e9 for name, operations in parts.items()}


def pair_work(config: ModelConfig, tokens: float) -> float:
    """Counts the work of scoring one image against one caption, both encoded.

    Args:
        config: sizes and parts.
        tokens: tokens of the caption.

    Returns:
        Floating-point operations.
    """
    regions, width, similarity = config.max_regions, config.joint_dim, config.similarity_dim
    work = 0
    if config.cross_attention:
        work += 2 * _product(tokens, regions, width)
    if config.local_alignment:
        work += _product(tokens, width, similarity)
    if config.global_alignment:
        work += _product(1, width, similarity)
        if not config.pools_regions:
            work += _product(1, regions, width)
    return work


def _product(rows: float, inner: int, columns: int) -> float:
    return 2 * rows * inner * columns
