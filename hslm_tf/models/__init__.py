"""HSLM: its three networks, and the model that joins them."""
