"""Files and arguments of `zoo predict` as inputs of the client."""
