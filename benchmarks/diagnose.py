"""How well does `normwise diagnose` do on the collection of faults and on healthy programs?

    python benchmarks/diagnose.py [--half calibration|held-out|both] [--only TEXT] [--limit N] [--jobs N] [--json FILE]

Each faulty program, its clean twin and each healthy program of a half is diagnosed with a training of 200 steps.
A line is printed for each as it is done, then the rates by family, architecture and code, then the bars. Thresholds of
rules may be set by looking at the calibration half only. With `--prove N` the remedies of N faulty programs are tried,
and those that a trial calls helpful once more, on fresh seeds: fifty trainings a program and more. Exit code 1 where a
bar is missed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from statistics import median

import torch

from normwise.testing.faults import Case, faulty, healthy
from normwise.testing.faults.repair import Repair, repairs
from normwise.testing.faults.score import (
    Answer,
    Judged,
    Rate,
    alarms_by_code,
    answer,
    false_alarms,
    judge,
    rates,
    split_rates,
)

DETECTED, NAMED, PLACED = 0.95, 0.85, 0.80
ALARMS, ALARMS_HIGH = 0.05, 0.10
AGAIN = 0.90


@lru_cache(maxsize=1)
def known() -> dict[str, Case]:
    """Every case by name; faults cannot be sent to another process, names can."""
    cases = [*faulty(), *healthy()]
    return {case.name: case for case in (*cases, *(case.twin for case in cases))}


def one_thread() -> None:
    """Of each process."""
    torch.set_num_threads(1)


def ask(name: str) -> Answer:
    """In a process of its own."""
    return answer(known()[name])


def mend(name: str) -> tuple[Repair, ...]:
    """In a process of its own."""
    return repairs(known()[name])


def mended(cases: Sequence[Case], jobs: int) -> list[Repair]:
    """Remedies that help, tried again, with a line for each."""
    context, found = multiprocessing.get_context("spawn"), []
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=one_thread) as pool:
        for case, repaired in zip(cases, pool.map(mend, [case.name for case in cases]), strict=True):
            print(f"{case.name}: {'no remedy helped' if not repaired else ''}", flush=True)
            for each in repaired:
                again = "helps again" if each.again else "not again"
                print(
                    f"         {each.code} {each.layer}: {again}; {each.gain:+.3f} against no change, "
                    f"{each.beyond_random:+.3f} against a random remedy",
                    flush=True,
                )
            found += repaired
    return found


def asked(names: Sequence[str], jobs: int) -> Iterator[Answer]:
    """Answers as they come."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=one_thread) as pool:
        for done in as_completed([pool.submit(ask, name) for name in names]):
            yield done.result()


def words(given: Answer) -> str:
    """Findings in a line."""
    if given.error:
        return given.error
    return " ".join(f"{code}:{layer}" if layer else code for code, layer in given.findings) or "—"


def line(case: Case, given: Answer) -> str:
    """What came for a case."""
    wanted = (
        "healthy" if case.fault is None else f"{'/'.join(case.fault.codes)} in {', '.join(case.layers[:2])!r}"
    )
    return f"{given.seconds:5.1f} s  {case.name}\n         wanted {wanted}; found {words(given)}"


def table(judged: Sequence[Judged]) -> None:
    """Rates by family, architecture and fault."""
    for by in ("family", "architecture", "fault"):
        print(f"\n{by:<30} detected        named           placed")
        for group, found in split_rates(judged, by).items():
            cells = "".join(
                f"{rate.hits:>4}/{rate.of:<3} {100 * rate.share:>4.0f} % " for rate in found.values()
            )
            print(f"{group:<30}{cells}")


def bars(judged: Sequence[Judged], alarms: Rate) -> bool:
    """Print the bars of the diagnoses with what was reached; whether those are met that were asked for."""
    found = rates(judged)
    low = alarms.share <= ALARMS and (alarms.interval.high or 0) <= ALARMS_HIGH
    print()
    met = [
        bar("detection ≥ 95 %", found["detected"], found["detected"].share >= DETECTED),
        bar("right fault in the first two findings ≥ 85 %", found["named"], found["named"].share >= NAMED),
        bar("right layer ≥ 80 %", found["placed"], found["placed"].share >= PLACED),
        bar("false alarms ≤ 5 %, upper end ≤ 10 %", alarms, low),
    ]
    return all(met)


def bar(what: str, rate: Rate, met: bool) -> bool:
    """Print one; a bar that was not asked for is not missed."""
    word = "not asked" if not rate.of else "met" if met else "MISSED"
    print(f"{word:<9} {what:<46} {rate if rate.of else ''}", flush=True)
    return met or not rate.of


def repairs_bar(repaired: Sequence[Repair]) -> bool:
    """Print what became of remedies on fresh seeds; whether the bar is met."""
    again = Rate(sum(each.again for each in repaired), len(repaired))
    if repaired:
        gain, beyond = (
            median(values) for values in zip(*((r.gain, r.beyond_random) for r in repaired), strict=True)
        )
        worse = sum(each.beyond_random <= 0 for each in repaired)
        print(
            f"\ngain of the held-out metric in the median: {gain:+.3f} against no change, {beyond:+.3f} against a "
            f"random remedy, which was as good in {worse} of {len(repaired)}"
        )
    return bar("proven repairs help on fresh seeds ≥ 90 %", again, again.share >= AGAIN)


def chosen(cases: Sequence[Case], options: argparse.Namespace) -> list[Case]:
    """Those of the half and of the pattern; with a limit, evenly spaced ones."""
    halves = ("calibration", "held-out") if options.half == "both" else (options.half,)
    found = [case for case in cases if case.half in halves and options.only in case.name]
    return evenly(found, options.limit) if options.limit else found


def evenly(cases: Sequence[Case], count: int) -> list[Case]:
    """So many of them, evenly spaced."""
    count = min(count, len(cases))
    return [cases[index * len(cases) // count] for index in range(count)]


def in_turn(broken: Sequence[Case], sound: Sequence[Case]) -> Iterator[Case]:
    """Each faulty case with its twin, then a healthy one: what is printed first is a sample of all."""
    for faulty_case, healthy_case in zip_longest(broken, sound):
        if faulty_case is not None:
            yield from (faulty_case, faulty_case.twin)
        if healthy_case is not None:
            yield healthy_case


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--half", default="calibration", choices=("calibration", "held-out", "both"))
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--what", default="both", choices=("both", "faulty", "healthy"))
    parser.add_argument(
        "--limit",
        type=int,
        default=0,
        help="at most so many faulty and so many healthy ones, evenly from all",
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--prove", type=int, default=0, help="try the remedies of so many faulty programs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    broken = [] if options.what == "healthy" else chosen(faulty(), options)
    sound = [] if options.what == "faulty" else chosen(healthy(), options)
    wanted = {case.name: case for case in in_turn(broken, sound)}
    began, answers = time.perf_counter(), {}
    for given in asked(list(wanted), options.jobs):
        answers[given.case] = given
        print(f"{len(answers):4d}/{len(wanted)} {line(wanted[given.case], given)}", flush=True)
    judged = [judge(case, answers[case.name], answers[case.twin.name]) for case in broken]
    sound_answers = [answers[case.name] for case in sound]
    twins = [answers[name] for name in dict.fromkeys(case.twin.name for case in broken)]
    table(judged)
    print(f"\nclean twins with a finding: {false_alarms(twins)}")
    print(f"codes found on healthy programs: {alarms_by_code(sound_answers) or 'none'}")
    print(f"codes found on clean twins: {alarms_by_code(twins) or 'none'}")
    print(f"errors: {[a.case for a in answers.values() if a.error] or 'none'}")
    seconds = sorted(a.seconds for a in answers.values())
    if seconds:
        print(f"seconds a diagnosis: median {seconds[len(seconds) // 2]:.1f}, longest {seconds[-1]:.1f}")
    print(f"half: {options.half}; {time.perf_counter() - began:.0f} s in all")
    met = bars(judged, false_alarms(sound_answers))
    repaired = mended(evenly(broken, options.prove), options.jobs) if options.prove else []
    met = repairs_bar(repaired) and met
    if options.json:
        record = {
            "half": options.half,
            "answers": [asdict(a) for a in answers.values()],
            "judged": [asdict(j) for j in judged],
            "repairs": [asdict(each) for each in repaired],
        }
        options.json.write_text(json.dumps(record, indent=1))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
