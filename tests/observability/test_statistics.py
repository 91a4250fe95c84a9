"""Counts are complete, split by model and version, and safe to write from many threads."""

import threading

from service.observability.statistics import BatchStatistics, ModelStatisticsSnapshot, Statistics, Total


def test_request_adds_its_rows_and_stage_times() -> None:
    statistics = Statistics(lambda: 99)
    statistics.request_finished("m", 1, True, 4, 100, queue_ns=1, input_ns=2, infer_ns=3, output_ns=4)
    statistics.request_finished("m", 1, True, 1, 50, queue_ns=1)
    (one,) = statistics.snapshot()
    assert (one.inference_count, one.last_inference_ms) == (5, 99)
    assert (one.success, one.fail) == (Total(2, 150), Total(0, 0))
    assert (one.queue, one.compute_input) == (Total(2, 2), Total(2, 2))
    assert (one.compute_infer, one.compute_output) == (Total(2, 3), Total(2, 4))


def test_failed_request_counts_only_as_failed() -> None:
    statistics = Statistics(lambda: 99)
    statistics.request_finished("m", 1, False, 4, 100, queue_ns=1)
    assert statistics.snapshot() == [ModelStatisticsSnapshot("m", 1, fail=Total(1, 100))]


def test_batches_are_counted_by_size() -> None:
    statistics = Statistics()
    for rows in (4, 1, 4):
        statistics.batch_executed("m", 1, rows, 1, 2, 3)
    (one,) = statistics.snapshot()
    assert one.execution_count == 3
    assert one.batches == (
        BatchStatistics(1, Total(1, 1), Total(1, 2), Total(1, 3)),
        BatchStatistics(4, Total(2, 2), Total(2, 4), Total(2, 6)),
    )


def test_statistics_are_kept_for_each_model_and_version() -> None:
    statistics = Statistics()
    for model, version in (("b", 1), ("a", 2), ("a", 1)):
        statistics.batch_executed(model, version, 1, 0, 0, 0)
    assert [(s.model, s.version) for s in statistics.snapshot()] == [("a", 1), ("a", 2), ("b", 1)]
    assert [s.version for s in statistics.snapshot("a")] == [1, 2]
    assert [s.version for s in statistics.snapshot("a", 2)] == [2]
    assert statistics.snapshot("c") == []


def test_concurrent_requests_are_all_counted() -> None:
    statistics = Statistics()

    def work() -> None:
        for _ in range(2000):
            statistics.request_finished("m", 1, True, 2, 3)
            statistics.batch_executed("m", 1, 2, 1, 1, 1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (one,) = statistics.snapshot()
    assert (one.success, one.inference_count) == (Total(8000, 24000), 16000)
    assert (one.execution_count, one.batches[0].compute_infer) == (8000, Total(8000, 8000))
