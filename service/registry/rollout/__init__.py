"""How a new version comes into service: the promotion gate, and the canary that is compared with the stable version."""
