"""Files of the newer exporter of torch, and the networks in them."""
