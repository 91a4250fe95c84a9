"""Exit codes of `zoo`. `status` and `doctor` give 2 a meaning of their own."""

FAILED = 1
"""The command failed; a sentence on stderr says why."""
MISUSED = 2
"""An argument or a setting is wrong."""
INTERRUPTED = 130
"""After Ctrl-C, as shells have it."""
