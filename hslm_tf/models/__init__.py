"""What HSLM is: its three networks, and the model made of them."""
