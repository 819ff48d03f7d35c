"""The best score that anybody who knew the future could reach: the ceiling of the bench.

Segment by segment, every state (variant, time, buffer) that may still lead to the best score is kept, and of states
that are alike within a small grid only the best. With the grid the result is a lower bound, tight to a few tenths.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from traces import Ladder, Network

TIME_GRID = 0.5
STATES = 1500


def optimum(network: Network, ladder: Ladder, capacity: float) -> float:
    """The highest QoE, in percent, of a session without abandoned downloads."""
    utilities = np.array(ladder.utilities)
    top = utilities[-1]
    variants = len(utilities)
    times, scores = np.empty(0), np.empty(0)
    buffers, last = np.empty(0), np.empty(0, dtype=int)
    for index, row in enumerate(ladder.sizes):
        sizes = np.array(row, dtype=float)
        if index == 0:
            times = _finish(network, np.full(variants, network.latency(0.0)), sizes)
            scores, buffers, last = utilities - top * times, np.full(variants, ladder.duration), np.arange(variants)
            continue
        pause = np.maximum(0.0, buffers + ladder.duration - capacity)
        begin = (times + pause)[:, None] + network.latency(0.0)
        finish = _finish(network, np.broadcast_to(begin, (len(times), variants)), sizes[None, :])
        spent = finish - times[:, None]
        stall = np.maximum(0.0, spent - buffers[:, None])
        score = scores[:, None] + utilities - top * stall - np.abs(utilities[None, :] - utilities[last][:, None])
        level = np.maximum(0.0, buffers[:, None] - spent) + ladder.duration
        chosen = np.broadcast_to(np.arange(variants), score.shape)
        keep = _best(finish.ravel(), level.ravel(), score.ravel(), chosen.ravel())
        times, buffers, scores, last = (a.ravel()[keep] for a in (finish, level, score, chosen))
    return float(max(-100.0, 100 * scores.max() / (len(ladder.sizes) * top)))


def _finish(network: Network, begin: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    times, bits = (np.array(values) for values in network.knots())
    loops, rest = np.divmod(begin, network.length)
    total = loops * network.loop_bits + np.interp(rest, times, bits) + sizes
    loops, rest = np.divmod(total, network.loop_bits)
    return loops * network.length + np.interp(rest, bits, times)


def _best(
    times: NDArray[np.float64], buffers: NDArray[np.float64], scores: NDArray[np.float64], last: NDArray[np.int_]
) -> NDArray[np.int_]:
    order = np.argsort(-scores, kind="stable")
    keys = np.stack([np.round(times / TIME_GRID), np.round(buffers / TIME_GRID), last])[:, order]
    _, first = np.unique(keys, axis=1, return_index=True)
    kept = order[np.sort(first)]
    # a state that is late and poor in buffer cannot win: what it lacks costs at most u_max a second
    return kept[:STATES]
