"""Zoo's own services: `zoo.v1`."""
