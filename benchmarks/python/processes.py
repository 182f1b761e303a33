# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Python's rows of errand-microbench about worker processes, one repetition a call.

    python3 processes.py hot|map|ready JOBS WORKERS

The empty job is that of the other subjects: it returns its argument and the process it ran in. The first line of the
answer is the cost in the row's unit; each further line is something counted.
"""

import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

WARM_UP = 20
process = 0


def stamped(argument):
    global process
    if process == 0:
        process = os.getpid()
    return process, argument


def cpu_of(processes):
    """Seconds of processor time of this process and of others: Linux's clock of a process by its number."""
    return time.process_time() + sum(time.clock_gettime((~p << 3) | 2) for p in processes)


def check(answers):
    """Every answer is its job's. Returns the processes that gave them."""
    if any(argument != asked for asked, (_, argument) in enumerate(answers)):
        raise RuntimeError("an answer is not that of its job")
    return {where for where, _ in answers}


def tell(cost, answers, cpu=None):
    where = check(answers)
    elsewhere = sum(p != os.getpid() for p, _ in answers)
    print(f"{cost:.17g}")
    print(f"{len(where - {os.getpid()})} processes")
    print(f"{100 * elsewhere / len(answers)} % elsewhere")
    if cpu is not None:
        print(f"{cpu} CPU")


def hot(jobs, workers, context):
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        workers_seen = check([pool.submit(stamped, i).result() for i in range(WARM_UP)])
        before = cpu_of(workers_seen)
        begin = time.perf_counter()
        answers = [pool.submit(stamped, i).result() for i in range(jobs)]
        seconds = time.perf_counter() - begin
        cpu = (cpu_of(workers_seen | check(answers)) - before) / seconds
        tell(seconds / jobs * 1e6, answers, cpu)


def map_all(jobs, workers, context):
    with context.Pool(workers) as pool:
        pool.map(stamped, range(jobs))
        begin = time.perf_counter()
        answers = pool.map(stamped, range(jobs))
        seconds = time.perf_counter() - begin
        tell(seconds / jobs * 1e9, answers)


def ready(_, workers, context):
    begin = time.perf_counter()
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        answer = pool.submit(stamped, 0).result()
        seconds = time.perf_counter() - begin
    tell(seconds * 1e3, [answer])


if __name__ == "__main__":
    try:
        verb = {"hot": hot, "map": map_all, "ready": ready}[sys.argv[1]]
        # The quickest start; other methods begin with a new interpreter.
        verb(int(sys.argv[2]), int(sys.argv[3]), multiprocessing.get_context("fork"))
    except Exception as error:
        print(f"wrong\n{error!r}")
        sys.exit(2)
