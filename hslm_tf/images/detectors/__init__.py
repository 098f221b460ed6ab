"""Networks that find boxes in photographs."""
