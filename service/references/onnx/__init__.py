"""Pulls networks in the format ONNX.

pull           the steps from a file to a card
file_worker    reads and runs the file, in a process of its own with limits
file_process   starts that process
trial          what it tries: seeded inputs, alone and in batches
agreement      the served session beside that trial
"""
