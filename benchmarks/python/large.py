# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Large results of a worker process in Python 3: how long one is on its way, in seconds, a line for each round.

    python3 large.py copied|shared BYTES ROUNDS

`copied` returns bytes, which are pickled; `shared` makes a block of multiprocessing.shared_memory and returns its name.
Every byte depends on the round, and is compared outside of the time.
"""

import multiprocessing
import struct
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory


def content(size, round_):
    block = struct.pack("<8Q", *(round_ * 1_000_003 + i for i in range(8)))
    return block * (size // len(block))


def copied(size, round_):
    result = content(size, round_)
    return time.monotonic(), result


def shared(size, round_):
    memory = SharedMemory(create=True, size=size)
    memory.buf[:size] = content(size, round_)
    memory.close()
    return time.monotonic(), memory.name


def time_copied(pool, size, round_):
    ready, result = pool.submit(copied, size, round_).result()
    seconds = time.monotonic() - ready
    return seconds, result == content(size, round_)


def time_shared(pool, size, round_):
    ready, name = pool.submit(shared, size, round_).result()
    memory = SharedMemory(name)
    seconds = time.monotonic() - ready
    right = memory.buf[:size] == content(size, round_)
    memory.close()
    memory.unlink()
    return seconds, right


def main():
    timed = {"copied": time_copied, "shared": time_shared}[sys.argv[1]]
    size, rounds = int(sys.argv[2]), int(sys.argv[3])
    resource_tracker.ensure_running()  # one for both processes
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        for round_ in range(rounds):
            seconds, right = timed(pool, size, round_)
            if not right:
                sys.exit("a result is not what was sent")
            print(f"{seconds:.17g}")


if __name__ == "__main__":
    main()
