"""How tests are spread over the processes of `pytest -n`: which stay together, and which begin first.

The `loadgroup` of pytest-xdist puts the group into an item's node id, which pytest 9 does not take over; so groups are read from
the path here.
"""

from typing import Any

from xdist.scheduler.loadscope import LoadScopeScheduling

SERVING, TUNING = "tests/end_to_end/serving", "tests/end_to_end/fine_tuning"
OPERATIONS, IMAGES = "tests/end_to_end/operations", "tests/end_to_end/images"
GROUPS = {
    # Modules that share a server of the session.
    **dict.fromkeys(
        [
            f"{IMAGES}/test_attributions.py",
            f"{IMAGES}/test_image_filters.py",
            f"{SERVING}/test_bad_input.py",
            f"{SERVING}/test_burst.py",
            f"{SERVING}/test_deadlines.py",
            f"{SERVING}/test_models_at_run_time.py",
            f"{IMAGES}/test_pixels.py",
            f"{OPERATIONS}/test_commands.py",
            f"{OPERATIONS}/test_first_run.py",
            f"{OPERATIONS}/test_photos.py",
            f"{OPERATIONS}/test_shell_tools.py",
            "tests/end_to_end/sounds/test_notes.py",
            "tests/end_to_end/trained/test_records.py",
        ],
        "the default models on a server",
    ),
    **dict.fromkeys(
        [
            f"{TUNING}/test_fine_tuning.py",
            f"{TUNING}/test_fine_tuning_bad_input.py",
            f"{TUNING}/test_fine_tuning_crashes.py",
            f"{TUNING}/test_fine_tuning_versions.py",
            f"{TUNING}/test_reduced_precision.py",
        ],
        "tuned models on a server",
    ),
    # The second reads what the first has compiled.
    f"{SERVING}/test_tiers.py": "a compiled network",
    "tests/runtime/compilers/test_compiled_runtimes.py": "a compiled network",
}
LONGEST_FIRST = (
    "tuned models on a server",
    "a compiled network",
    f"{OPERATIONS}/test_environment.py",
    "the default models on a server",
    "tests/end_to_end/course/test_pages.py",
    f"{OPERATIONS}/test_log_output.py",
    "tests/cli/test_command_lines.py",
    "tests/training/test_worker.py",
    f"{SERVING}/test_several_servers.py",
    f"{OPERATIONS}/test_start.py",
    "tests/runtime/lanes/test_processes.py",
    f"{TUNING}/test_trained_files.py",
    "tests/registry/loading/test_load_unload.py",
    "tests/training/methods/test_full.py",
    f"{SERVING}/test_memory.py",
    "tests/faults/test_damaged_jobs.py",
    "tests/faults/test_damaged_versions.py",
    "tests/training/methods/test_head.py",
)
"""Groups and modules that take longest, so that no process is left with one of them at the end."""


def group_of(node_id: str) -> str:
    """A module, or the group that it belongs to."""
    path = node_id.partition("::")[0]
    return GROUPS.get(path, path)


def order_of(node_id: str) -> int:
    """By this number tests are sorted; equal ones stay in the order in which they were collected."""
    group = group_of(node_id)
    return LONGEST_FIRST.index(group) if group in LONGEST_FIRST else len(LONGEST_FIRST)


class GroupScheduling(LoadScopeScheduling):
    """Gives a process one group after another."""

    def __init__(self, config: Any, log: Any = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)

    def remove_node(self, node: Any) -> str | None:
        """Takes the work of a process that died back; returns the test in which it died, which is not run again.

        pytest-xdist queues all that the process ever had. A finished group is then given to another process, which has nothing
        to run, reports nothing, and never gets more: the run hangs.
        """
        unfinished = {group: tests for group, tests in self.assigned_work.pop(node).items() if not all(tests.values())}
        if not unfinished:
            return None
        tests = next(iter(unfinished.values()))
        crashed = next(test for test, done in tests.items() if not done)
        tests[crashed] = True
        self.workqueue.update({group: tests for group, tests in unfinished.items() if not all(tests.values())})
        for other in self.nodes:
            self._reschedule(other)
        return crashed

    def _reschedule(self, node: Any) -> None:
        if node in self.registered_collections:  # else it is a new process that has not collected the tests yet
            super()._reschedule(node)
