"""Tasks translate between raw inputs, tensors and answers. `task_for` in `table.py` builds the task of a card.

A task combines an input codec (raw instance → tensors) with an answer codec (tensors → answer). Tasks that fit no such pair, like
text generation, implement `Task` themselves.

Everything here runs in the CPU pool (preprocess, postprocess) or in a device lane (collate, split), never on the event loop. The
exception is `Task.row`, which only looks at dtypes and shapes.
"""
