"""The participants of a measurement: servers and the in-process limit, each in processes of its own."""
