"""Similarity of two sequences of tokens: edit distance, BLEU, rank correlation.

Definitions: Qi et al., *GeneMamba*, appendix B.3.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy.stats import rankdata

_ORDER = 4  # longest n-gram of BLEU


def levenshtein(first: np.ndarray, second: np.ndarray) -> int:
    """Return the edit distance: insertions, deletions and substitutions.

    Sixty-four rows of the distance table are one machine word [1]_: 2,048 tokens take a fraction of
    a millisecond.

    References
    ----------
    .. [1] Myers, *A fast bit-vector algorithm for approximate string matching based on dynamic
       programming*, Journal of the ACM 1999; Hyyrö, Nordic Journal of Computing 2003.

    >>> levenshtein(np.array([5, 6, 7]), np.array([6, 7, 8]))
    2
    """
    if not len(first) or not len(second):
        return max(len(first), len(second))
    both, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    a, b = codes[: len(first)], codes[len(first) :]
    places = np.argsort(a, kind="stable")
    starts = np.searchsorted(a[places], np.arange(len(both) + 1))
    return int(_bit_parallel(b, places, starts, len(a)))


@njit(cache=True, nogil=True)
def _bit_parallel(b: np.ndarray, places: np.ndarray, starts: np.ndarray, m: int) -> np.int64:
    """Process the columns of the table; token t is at `places[starts[t]:starts[t + 1]]`."""
    one = np.uint64(1)
    n_words = (m + 63) // 64
    up = np.full(n_words, ~np.uint64(0))  # rows where the distance increases by one
    down = np.zeros(n_words, dtype=np.uint64)  # and where it decreases
    equal = np.zeros(n_words, dtype=np.uint64)
    distance = np.int64(m)
    for token in b:
        for k in range(starts[token], starts[token + 1]):
            equal[places[k] >> 6] |= one << np.uint64(places[k] & 63)
        carry = np.int64(1)
        for w in range(n_words):
            last = np.uint64((m - 1) & 63) if w == n_words - 1 else np.uint64(63)
            eq, pv, mv = equal[w], up[w], down[w]
            xv = eq | mv
            if carry < 0:
                eq |= one
            xh = (((eq & pv) + pv) ^ pv) | eq
            ph = mv | ~(xh | pv)
            mh = pv & xh
            out = np.int64((ph >> last) & one) - np.int64((mh >> last) & one)
            ph <<= one
            mh <<= one
            if carry < 0:
                mh |= one
            elif carry > 0:
                ph |= one
            up[w] = mh | ~(xv | ph)
            down[w] = ph & xv
            carry = out
        distance += carry
        for k in range(starts[token], starts[token + 1]):
            equal[places[k] >> 6] = np.uint64(0)
    return distance


def bleu(truth: np.ndarray, guess: np.ndarray) -> float:
    """Return unsmoothed BLEU, from 0 to 1, with n-grams up to 4 (or the shorter length).

    >>> round(bleu(np.arange(10), np.arange(10)), 3)
    1.0
    """
    if not len(truth) or not len(guess):
        return float(len(truth) == len(guess))
    codes = np.unique(np.concatenate([truth, guess]), return_inverse=True)[1].astype(np.int64)
    true, other = codes[: len(truth)], codes[len(truth) :]
    t, s, several = true, other, int(codes.max()) + 1
    logs = []
    for n in range(1, min(_ORDER, len(truth), len(guess)) + 1):
        if n > 1:  # an n-gram is a numbered (n-1)-gram and one more token
            t, s = t[:-1] * several + true[n - 1 :], s[:-1] * several + other[n - 1 :]
            numbered = np.unique(np.concatenate([t, s]), return_inverse=True)[1]
            t, s = numbered[: len(t)], numbered[len(t) :]
        counts = [np.bincount(grams, minlength=len(t) + len(s)) for grams in (t, s)]
        shared = np.minimum(*counts).sum()
        if shared == 0:
            return 0.0
        logs.append(np.log(shared / len(s)))
    penalty = min(0.0, 1 - len(truth) / len(guess))
    return float(np.exp(np.mean(logs) + penalty))


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's correlation with mid-ranks for ties; NaN where nothing varies.

    >>> spearman(np.array([1, 2, 3]), np.array([10, 20, 15]))
    0.5
    """
    if len(first) < 2:
        return float("nan")
    a, b = (rankdata(v) - (len(v) + 1) / 2 for v in (first, second))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")


def ranks_in(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Return the first rank, from 1, of each token of `truth` in `guess`, or NaN."""
    order = np.argsort(guess, kind="stable")  # of equal tokens the first comes first
    at = np.searchsorted(guess[order], truth)
    at[at == len(guess)] = 0
    if not len(guess):
        return np.full(len(truth), np.nan)
    place = order[at]
    return np.where(guess[place] == truth, place + 1.0, np.nan)
