"""Networks that propose boxes in photographs."""
