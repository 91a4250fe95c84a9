"""One file per task: raw input ↔ tensors ↔ answer. `task_for` in `table.py` finds the task of a card.

Everything here runs in the CPU pool (preprocess, postprocess) or a device lane (collate, split), never on the event loop,
save `Task.row`, which only looks at dtypes and shapes.
"""
