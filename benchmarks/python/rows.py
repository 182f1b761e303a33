# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The five techniques of the post in Python 3, one measurement a call.

`errand bench` runs this beside its own rows: the same jobs, the same bytes in the files, the
same number of workers, the pool started before the clock. By hand, for instance:

    python3 rows.py --technique threading --workers 2 count:2000 write:100000:/tmp/lines.txt

Jobs are `count:N`, `write:LINES:PATH` and `sync:LINES:PATH`, which is done when the file is
on the disk. With --fine each inner loop of a counting job is a dispatch of its own, awaited
before the next, as the post's coroutines did it. The result is one line of JSON.
"""

import argparse
import asyncio
import json
import os
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import Pool
from multiprocessing.pool import ThreadPool

LINE = "asdf\n"


def place():
    """Names the thread that calls, among those of all processes."""
    return (os.getpid(), threading.get_ident())


def inner_loop(i):
    """The unit of fine-grained dispatch: i steps that do nothing. Returns their count and where."""
    x = -1
    for x in range(i):
        pass
    return x + 1, place()


def count_steps(n):
    steps = 0
    for i in range(n):
        steps += inner_loop(i)[0]
    return steps


def write_lines(lines, path, durable):
    with open(path, "w", encoding="ascii") as out:
        for _ in range(lines):
            out.write(LINE)
        if durable:
            out.flush()
            os.fdatasync(out.fileno())
    return lines


def run_job(job):
    """Runs one whole job where it is called: (value, seconds, place, dispatches, elsewhere)."""
    begin = time.perf_counter()
    if job[0] == "count":
        value = count_steps(job[1])
    else:
        value = write_lines(job[1], job[2], job[0] == "sync")
    return value, time.perf_counter() - begin, place(), 0, 0


def run_job_by_dispatches(job, dispatch):
    """The fine-grained form: `dispatch(function, argument)` runs one thing elsewhere and waits for it."""
    if job[0] != "count":
        return dispatch(run_job, job)
    begin = time.perf_counter()
    here = place()
    value = elsewhere = 0
    for i in range(job[1]):
        steps, there = dispatch(inner_loop, i)
        value += steps
        elsewhere += there != here
    return value, time.perf_counter() - begin, here, job[1], elsewhere


async def run_job_by_awaits(job, executor):
    """The same for a coroutine."""
    loop = asyncio.get_running_loop()
    if job[0] != "count":
        return await loop.run_in_executor(executor, run_job, job)
    begin = time.perf_counter()
    here = place()
    value = elsewhere = 0
    for i in range(job[1]):
        steps, there = await loop.run_in_executor(executor, inner_loop, i)
        value += steps
        elsewhere += there != here
    return value, time.perf_counter() - begin, here, job[1], elsewhere


def timed(run):
    begin = time.perf_counter()
    answers = run()
    return time.perf_counter() - begin, answers


def nothing(_):
    """Warms a pool up."""


def serial(jobs, workers, fine):
    def call(function, argument):
        return function(argument)

    if fine:
        return timed(lambda: [run_job_by_dispatches(job, call) for job in jobs])
    return timed(lambda: [run_job(job) for job in jobs])


def with_pool(make_pool, jobs, workers, fine):
    """`Pool.map` over the jobs; fine-grained, a driving thread for each job calls `Pool.apply`."""
    with make_pool(workers) as pool:
        pool.map(nothing, range(workers), chunksize=1)
        if not fine:
            return timed(lambda: pool.map(run_job, jobs, chunksize=1))

        def call(function, argument):
            return pool.apply(function, (argument,))

        with ThreadPoolExecutor(len(jobs)) as drivers:
            return timed(lambda: list(drivers.map(lambda job: run_job_by_dispatches(job, call), jobs)))


def threading_pool(jobs, workers, fine):
    return with_pool(ThreadPool, jobs, workers, fine)


def multiprocess(jobs, workers, fine):
    return with_pool(Pool, jobs, workers, fine)


def with_coroutines(make_executor, jobs, workers, fine):
    """Coroutines that await run_in_executor, gathered."""

    async def all_jobs(executor):
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(executor, nothing, w) for w in range(workers)))
        begin = time.perf_counter()
        if fine:
            lanes = (run_job_by_awaits(job, executor) for job in jobs)
        else:
            lanes = (loop.run_in_executor(executor, run_job, job) for job in jobs)
        answers = await asyncio.gather(*lanes)
        return time.perf_counter() - begin, answers

    with make_executor(workers) as executor:
        return asyncio.run(all_jobs(executor))


def coro_thread(jobs, workers, fine):
    return with_coroutines(ThreadPoolExecutor, jobs, workers, fine)


def coro_multi(jobs, workers, fine):
    return with_coroutines(ProcessPoolExecutor, jobs, workers, fine)


TECHNIQUES = {
    "serial": serial,
    "threading": threading_pool,
    "multiprocess": multiprocess,
    "coro-thread": coro_thread,
    "coro-multi": coro_multi,
}


def job_of(text):
    kind, size, *path = text.split(":", 2)
    if kind not in ("count", "write", "sync") or (kind != "count") != bool(path):
        raise argparse.ArgumentTypeError(f"{text!r} is none of count:N, write:LINES:PATH and sync:LINES:PATH")
    return (kind, int(size), *path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--technique", choices=TECHNIQUES, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--fine", action="store_true")
    parser.add_argument("jobs", type=job_of, nargs="+")
    args = parser.parse_args()
    try:
        seconds, answers = TECHNIQUES[args.technique](args.jobs, args.workers, args.fine)
    except OSError as error:
        sys.exit(f"cannot write {error.filename}: {error.strerror}")
    values, job_seconds, places, dispatches, elsewhere = zip(*answers)
    print(
        json.dumps(
            {
                "seconds": seconds,
                "values": values,
                "job_seconds": job_seconds,
                "places": [places.index(p) for p in places],
                "dispatches": dispatches,
                "elsewhere": elsewhere,
            }
        )
    )


if __name__ == "__main__":
    main()
