"""The Open Inference Protocol, as Triton's and KServe's clients call it."""
