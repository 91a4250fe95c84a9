"""Batch latencies that the vendor of an accelerator published: milliseconds, average and 99th percentile, by length and rows.

BERT: NVIDIA, TensorRT, `demo/BERT/README.md`, "Inference performance: NVIDIA A100 (40GB)", TensorRT 8.4.3, one GPU, copies to
and from the device not counted (github.com/NVIDIA/TensorRT, commit 007c34702bc7878285e3123eb39829a1f9aef3f0).
ResNet-50 v1.5: NVIDIA, DeepLearningExamples, `TensorFlow/Classification/ConvNets/resnet50v1.5/README.md`, "Inference
performance: NVIDIA DGX A100 (1x A100 40GB)", mixed precision, TensorFlow 20.06 (github.com/NVIDIA/DeepLearningExamples,
commit 1d4211fe9d94550d7bc72bb9b0ac4f576533ca52).

The figures are unchanged, also where they are uneven (ResNet-50 takes 16.2 ms for 32 rows and 18.1 ms for 64).
"""

from __future__ import annotations

from benchmarks.simulation.table import Table

BERT_BASE_FP16 = Table("""
128 1 0.67 0.83
128 2 0.83 1.02
128 4 1.02 1.29
128 8 1.38 1.77
128 12 1.87 1.88
128 16 2.18 2.23
128 24 3.34 3.38
128 32 4.10 4.13
128 64 8.05 8.12
128 128 16.14 16.30
384 1 1.31 1.31
384 2 1.64 1.64
384 4 2.31 2.32
384 8 3.62 3.64
384 12 5.03 5.11
384 16 6.72 6.80
384 24 9.79 9.95
384 32 13.51 13.64
384 64 26.11 26.31
384 128 51.26 51.96
""")

BERT_BASE_INT8 = Table("""
128 1 0.58 0.71
128 2 0.62 0.78
128 4 0.77 0.85
128 8 0.95 0.95
128 12 1.22 1.24
128 16 1.37 1.37
128 24 1.84 1.84
128 32 2.27 2.28
128 64 4.20 4.28
128 128 8.18 8.24
384 1 1.15 1.47
384 2 1.33 1.33
384 4 1.69 1.70
384 8 2.22 2.24
384 12 3.36 3.36
384 16 4.10 4.10
384 24 5.80 5.80
384 32 7.74 7.82
384 64 15.16 15.25
384 128 29.34 29.48
""")

BERT_LARGE_FP16 = Table("""
128 1 1.64 1.64
128 2 2.05 2.05
128 4 2.97 2.98
128 8 4.51 4.52
128 12 5.26 5.32
128 16 7.75 7.81
128 24 10.10 10.23
128 32 13.85 13.92
128 64 26.20 26.52
128 128 51.61 52.30
384 1 3.12 3.13
384 2 4.15 4.16
384 4 5.96 6.01
384 8 11.53 11.68
384 12 16.22 16.50
384 16 21.92 22.00
384 24 32.43 32.82
384 32 43.01 43.10
384 64 83.63 84.56
384 128 163.70 164.95
""")

BERT_LARGE_INT8 = Table("""
128 1 1.25 1.57
128 2 1.47 1.85
128 4 1.82 1.82
128 8 2.71 2.72
128 12 3.10 3.11
128 16 4.02 4.02
128 24 5.32 5.38
128 32 7.09 7.11
128 64 13.09 13.29
128 128 25.45 25.81
384 1 2.81 2.81
384 2 3.06 3.06
384 4 4.03 4.04
384 8 7.16 7.18
384 12 9.25 9.34
384 16 12.51 12.52
384 24 17.88 18.10
384 32 23.17 23.49
384 64 45.40 45.63
384 128 89.01 89.55
""")

RESNET50_MIXED = Table("""
1 1 4.51 4.76
1 2 4.63 4.76
1 4 4.63 5.36
1 8 5.40 5.78
1 16 8.47 9.14
1 32 16.23 17.98
1 64 18.14 19.35
1 128 37.86 66.90
1 256 81.02 126.31
""")
