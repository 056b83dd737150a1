"""Runs many rotations, in as many processes as wanted; the result does not depend on how many."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Iterator
from functools import partial

from proofs.simulation import defaults
from proofs.simulation.population import Kind, draw
from proofs.simulation.scene import Scene
from proofs.simulation.tally import Tally
from proofs.simulation.variants import Variant

Tallies = dict[tuple[str, Kind], Tally]
_CHUNK = 200
_TELL_EVERY = 15.0


def run(
    variant: Variant,
    *,
    rotations: int,
    seed: int,
    processes: int = 1,
    only: Kind | None = None,
    tell: bool = False,
) -> Tallies:
    """Rotate users 0 to `rotations` - 1 of a population by each of the variant's rules."""
    found: Tallies = {}
    began = told = time.monotonic()
    done = 0
    for tallies in _chunks(variant, rotations, seed, processes, only):
        for key, tally in tallies.items():
            found.setdefault(key, Tally()).merge(tally)
        done = min(done + _CHUNK, rotations)
        now = time.monotonic()
        if tell and now - told >= _TELL_EVERY:
            told = now
            left = (now - began) / done * (rotations - done)
            text = f"  {variant.name}: {done} of {rotations} rotations, about {left:.0f} s left"
            print(text, file=sys.stderr, flush=True)
    return found


def rotate_all(variant: Variant, seed: int, only: Kind | None, indices: range) -> Tallies:
    """Rotate some users of a population by each of the variant's rules."""
    found: Tallies = {}
    policy = defaults.policy(**variant.changed)
    for index in indices:
        user = draw(seed, index, only)
        for rule in variant.rules:
            scene = Scene(user, variant.lag)
            ending = variant.rotate(rule, scene)
            tally = found.setdefault((rule, user.kind), Tally())
            tally.add(user, ending, scene.cut_offs(), policy)
    return found


def _chunks(
    variant: Variant, rotations: int, seed: int, processes: int, only: Kind | None
) -> Iterator[Tallies]:
    starts = range(0, rotations, _CHUNK)
    chunks = [range(start, min(start + _CHUNK, rotations)) for start in starts]
    work = partial(rotate_all, variant, seed, only)
    if processes == 1:
        yield from map(work, chunks)
        return
    # Spawned, because forking a process that has threads (a test runner's) is not safe.
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(work, chunks)
