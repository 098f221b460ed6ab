"""BERT in float64 NumPy, from weights under the names of Hugging Face (Devlin et al., 2019)."""

from collections.abc import Mapping

import numpy as np

Weights = Mapping[str, np.ndarray]


def bert_states(weights: Weights, ids: list[int], num_layers: int, num_heads: int) -> np.ndarray:
    """The states of a text after every layer, `[1 + num_layers, tokens, width]`."""
    states = weights["embeddings.word_embeddings.weight"][ids]
    states = states + weights["embeddings.position_embeddings.weight"][: len(ids)]
    states = states + weights["embeddings.token_type_embeddings.weight"][0]
    after = [_norm(weights, "embeddings.LayerNorm", states)]
    for layer in range(num_layers):
        place, x = f"encoder.layer.{layer}", after[-1]
        query, key, value = (
            np.stack(np.split(_dense(weights, f"{place}.attention.self.{part}", x), num_heads, 1))
            for part in ("query", "key", "value")
        )
        logits = query @ key.swapaxes(1, 2) / np.sqrt(query.shape[-1])
        shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
        mixed = np.concatenate(shares / shares.sum(axis=-1, keepdims=True) @ value, axis=1)
        x = x + _dense(weights, f"{place}.attention.output.dense", mixed)
        x = _norm(weights, f"{place}.attention.output.LayerNorm", x)
        inner = _gelu(_dense(weights, f"{place}.intermediate.dense", x))
        x = x + _dense(weights, f"{place}.output.dense", inner)
        after.append(_norm(weights, f"{place}.output.LayerNorm", x))
    return np.stack(after)


def _dense(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _norm(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-12)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _gelu(x: np.ndarray) -> np.ndarray:
    # KerasHub's form; the exact one differs by up to 5e-4.
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
