"""A simulated device: profiles, request load, contenders, an engine, and a document. See docs/simulation.md."""
