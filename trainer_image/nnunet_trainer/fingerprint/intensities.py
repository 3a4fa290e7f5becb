"""Foreground intensities as nnU-Net samples them, counted instead of copied.

nnU-Net draws about 1e8 foreground voxels with replacement, keeps them all and takes percentiles. The same draws are made here by
the same generator, but only how often each voxel came is kept, and the statistics are weighted by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SEED = 1234
TOTAL_SAMPLES = 10e7
DRAW = 1 << 20
PIECE = 1 << 22
PERCENTILES = {"percentile_00_5": 0.5, "median": 50.0, "percentile_99_5": 99.5}


@dataclass(slots=True)
class Histogram:
    """Sorted distinct float32 values, and how often each was drawn."""

    values: np.ndarray
    counts: np.ndarray


def sample(images: np.ndarray, foreground: np.ndarray, num_samples: int) -> list[Histogram]:
    """Draw foreground voxels of each channel with replacement.

    Args:
        images: (c, z, y, x).
        foreground: bool (z, y, x).
        num_samples: draws a channel; the channels share one generator, which starts anew for each case.
    """
    random = np.random.MT19937()
    random.state = np.random.RandomState(SEED).get_state(legacy=False)
    places = np.flatnonzero(foreground)
    histograms = []
    for image in images:
        voxels = image.reshape(-1)[places] if image.flags.c_contiguous else image[foreground]
        if not len(voxels):
            histograms.append(Histogram(np.empty(0, np.float32), np.empty(0, np.int64)))
            continue
        histograms.append(_count(voxels, _draw(random, len(voxels), num_samples)))
    return histograms


def _draw(random: np.random.MT19937, size: int, num_samples: int) -> np.ndarray:
    """How often each of `size` voxels comes in `RandomState.randint(0, size, num_samples)`, which goes on from where it was.

    Its rule: a 32-bit word a try, its lowest bits that suffice, thrown away from `size` on.
    """
    if size == 1:
        return np.array([num_samples])
    bits = (size - 1).bit_length()
    dense = size <= 4 * DRAW  # beyond, counting one by one is quicker than adding up tables of all voxels
    counts = np.zeros(1 << bits, np.int64) if dense else np.zeros(size, np.uint32)
    missing = num_samples
    while missing:
        before = random.state
        words = random.random_raw(min(DRAW, missing + (missing >> 1) + 64)).view(np.int64)
        np.bitwise_and(words, (1 << bits) - 1, out=words)
        table = np.bincount(words, minlength=1 << bits) if dense else None
        fitting = words[words < size] if table is None else None
        accepted = int(table[:size].sum()) if table is not None else len(fitting)
        if accepted > missing:  # the last one needed is among these words: count up to it, and leave the generator there
            last = int(np.flatnonzero(words < size)[missing - 1]) + 1
            words, accepted = words[:last], missing
            table = np.bincount(words, minlength=1 << bits) if dense else None
            fitting = words[words < size] if table is None else None
            random.state = before
            random.random_raw(last)
        if table is not None:
            counts += table
        else:
            _add_ones(counts, fitting)
        missing -= accepted
    return counts[:size]


def _add_ones(counts: np.ndarray, places: np.ndarray) -> None:
    """Count the places; sorted first, since scattered additions to a large table wait for memory."""
    places = np.sort(places)
    first = np.flatnonzero(np.concatenate([[True], places[1:] != places[:-1]]))
    counts[places[first]] += np.diff(np.append(first, len(places))).astype(counts.dtype)


def _count(values: np.ndarray, counts: np.ndarray) -> Histogram:
    """How often each distinct value came; piece by piece, so that what is worked on at once stays small."""
    whole = _count_whole_numbers(values, counts)
    if whole is not None:
        return whole
    pieces = [_count_piece(values[i : i + PIECE], counts[i : i + PIECE]) for i in range(0, len(values), PIECE)]
    while len(pieces) > 1:
        pairs = [pieces[i : i + 2] for i in range(0, len(pieces), 2)]
        pieces = [_joined(pair) for pair in pairs]
    return pieces[0] if pieces else Histogram(np.empty(0, values.dtype), np.empty(0, np.int64))


def _count_whole_numbers(values: np.ndarray, counts: np.ndarray) -> Histogram | None:
    """The same by a table, where all values are whole numbers close enough to each other, as in most images; else None."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    if not (high - low < PIECE and abs(low) + abs(high) < 1 << 24 and low.is_integer()):
        return None
    table = np.zeros(int(high - low) + 1)
    for start in range(0, len(values), PIECE):
        part = values[start : start + PIECE]
        places = (part - values.dtype.type(low)).astype(np.int64)
        if not np.array_equal(places, part - values.dtype.type(low)):
            return None
        table += np.bincount(places, weights=counts[start : start + PIECE], minlength=len(table))
    drawn = np.flatnonzero(table)
    return Histogram((drawn + low).astype(values.dtype), table[drawn].astype(np.int64))


def _count_piece(values: np.ndarray, counts: np.ndarray) -> Histogram:
    drawn = np.flatnonzero(counts)
    distinct, inverse = np.unique(values[drawn], return_inverse=True)
    totals = np.bincount(inverse, weights=counts[drawn], minlength=len(distinct)).astype(np.int64)
    return Histogram(distinct, totals)


def _joined(pieces: list[Histogram]) -> Histogram:
    if len(pieces) == 1:
        return pieces[0]
    return _count_piece(np.concatenate([p.values for p in pieces]), np.concatenate([p.counts for p in pieces]))


def statistics(histograms: list[Histogram]) -> dict[str, float] | None:
    """Mean, standard deviation, range and percentiles over all cases of one channel; None without any foreground.

    The percentiles interpolate as numpy's `percentile` does, in the type that nnU-Net's array of all samples would have.
    """
    # A case without foreground turns nnU-Net's array into float64.
    kind = np.float64 if any(not len(h.values) for h in histograms) else np.float32
    merged = _count(np.concatenate([h.values for h in histograms]), np.concatenate([h.counts for h in histograms]))
    values, counts = merged.values.astype(kind), merged.counts
    total = int(counts.sum())
    if total == 0:
        return None
    upto = np.cumsum(counts)
    exact = values.astype(np.float64)
    mean = float(np.dot(exact, counts) / total)
    found = {
        "max": float(values[-1]),
        "mean": mean,
        "min": float(values[0]),
        "std": float(np.sqrt(np.dot((exact - mean) ** 2, counts) / total)),
    }
    for name, percent in PERCENTILES.items():
        found[name] = _percentile(
            values, upto, total, percent / kind(100) if kind is np.float64 else np.float64(percent) / kind(100)
        )
    return dict(sorted(found.items()))


def _percentile(values: np.ndarray, upto: np.ndarray, total: int, quantile: float) -> float:
    place = (total - 1) * np.float64(quantile)
    low = int(np.floor(place))
    a, b = (values[np.searchsorted(upto, index, side="right")] for index in (low, min(low + 1, total - 1)))
    part = place - np.floor(place)
    step = b - a
    # numpy's own interpolation, from the nearer end.
    return float(b - step * (1 - part)) if part >= 0.5 else float(a + step * part)
