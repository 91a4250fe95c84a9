"""Networks in the format ONNX: what their files say, what is refused of them, and the cards that follow.

facts          what a file says, as data
graph_facts    reads it from the file; in a process of its own, since nothing is known of the file yet
graph_sizes    whether callers could choose the sizes of tensors by the values that they send
external_data  weights in files beside the graph
tensors_card   facts → card of a model of tensors only
"""
