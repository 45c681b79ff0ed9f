from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from genemamba.heads.descent import minimise


def problems(n: int, n_unknowns: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Smooth convex functions, the later ones harder: log-sum-exp of lines plus a penalty."""
    rng = np.random.default_rng(0)
    lines = rng.normal(size=(n, 30, n_unknowns)) * np.geomspace(0.1, 5, n)[:, None, None]
    return lines, rng.normal(size=(n, 30))


def value(lines: np.ndarray, level: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = np.einsum("fkp,fp->fk", lines, x) + level
    top = z.max(axis=1, keepdims=True)
    p = np.exp(z - top)
    whole = p.sum(axis=1, keepdims=True)
    total = (top + np.log(whole))[:, 0] + 0.05 * (x**2).sum(axis=1)
    return total, np.einsum("fk,fkp->fp", p / whole, lines) + 0.1 * x


def test_every_problem_reaches_its_own_minimum() -> None:
    lines, level = problems(6)
    found = minimise(
        lambda x: value(lines, level, x), np.zeros((6, 12)), tolerance=1e-8, rounds=500
    )
    for f in range(6):
        one = lines[f : f + 1], level[f : f + 1]

        def alone(x: np.ndarray, one: tuple[np.ndarray, np.ndarray] = one) -> tuple:
            total, gradient = value(*one, x[None])
            return total[0], gradient[0]

        oracle = minimize(alone, np.zeros(12), jac=True, method="BFGS", options={"gtol": 1e-8})
        np.testing.assert_allclose(found[f], oracle.x, atol=1e-6)


def test_company_does_not_change_a_solution() -> None:
    lines, level = problems(6)
    together = minimise(
        lambda x: value(lines, level, x), np.zeros((6, 12)), tolerance=1e-6, rounds=500
    )
    alone = minimise(
        lambda x: value(lines[:1], level[:1], x), np.zeros((1, 12)), tolerance=1e-6, rounds=500
    )
    np.testing.assert_allclose(together[:1], alone, atol=1e-9)


def test_what_cannot_get_better_ends() -> None:
    """In float32, rounding hides the last steps."""
    lines, level = (part.astype(np.float32) for part in problems(3))
    n_calls = 0

    def counted(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal n_calls
        n_calls += 1
        return value(lines, level, x)

    found = minimise(counted, np.zeros((3, 12), np.float32), tolerance=0.0, rounds=200)
    assert np.isfinite(found).all() and found.dtype == np.float32
    assert n_calls < 5000
