"""The largest share of the capacity that can be answered under overload, from what calls cost the cores in the same run.

At its capacity of K answers a second a server keeps the cores busy: C core seconds a second, the client's share included. An
answer then costs C ÷ K. A call that is refused costs r: it is sent, received, refused, and the refusal is received. While calls
come at x times the capacity, A of them answered, the cores do A · C ÷ K + (x · K − A) · r. They have C, so

    A ÷ K  ≤  (1 − x · ρ) ÷ (1 − ρ),    ρ = r · K ÷ C,  what a refused call costs ÷ what an answer costs.

The bound takes both costs as constant. A server that refuses at less cost than in its measurement can exceed it.
"""

from __future__ import annotations


def most_answered(refused_s: float, answered_s: float, overload: float) -> float:
    """Answers ÷ capacity at `overload` × capacity, between 0 and 1. `refused_s`, `answered_s`: core seconds a call."""
    share = refused_s / answered_s
    if share >= 1.0:  # a refusal costs as much as an answer: nothing is left
        return 0.0
    return min(1.0, max(0.0, (1.0 - overload * share) / (1.0 - share)))


def cost_of_refusal(cores: float, rate: float, answered_s: float, answered_rate: float = 0.0) -> float:
    """Core seconds of a refused call, from a flood of `rate` calls a second that took `cores`. `answered_rate` of them were
    answered all the same, at `answered_s` each. 0 if none was refused."""
    refused = rate - answered_rate
    return max(0.0, cores - answered_rate * answered_s) / refused if refused > 0 else 0.0
