# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""08_window on a display of its own, without a user: 08_window_test.py PROGRAM XVFB

What it shows is compared with the same picture calculated here, point by point; it is cancelled, fails, and is closed in the midst.
That the window lived meanwhile is seen by the ticks of its toolkit's clock, which come while the drawing is under way.
"""
import math
import os
import re
import subprocess
import sys
import tempfile

MARGIN, WIDTH, HEIGHT, BANDS = 10, 640, 480, 60
UNDRAWN, BLACK = (36, 36, 44), (0, 0, 0)
ENDLESS = "9999999"  # a depth that takes many minutes, on any machine
PATIENCE = 120  # seconds for one run, which takes one or two; against hangs


class Display:
    """An X server without a screen. It chooses its number itself, so any number of tests may run at a time."""

    def __init__(self, xvfb):
        self.xvfb = xvfb

    def __enter__(self):
        reads, writes = os.pipe()
        self.server = subprocess.Popen(
            [self.xvfb, "-displayfd", str(writes), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
            pass_fds=[writes], stderr=subprocess.DEVNULL)
        os.close(writes)
        with os.fdopen(reads) as told:
            number = told.readline().strip()
        assert number, f"{self.xvfb} did not start"
        return f":{number}"

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait()


def expected(column, row, depth):
    """The colour of a point of the picture: what draw_band() and palette() do, once more."""
    re_, im = 0.005 * column - 2.2, 0.005 * row - 1.2
    x = y = 0.0
    for steps in range(depth):
        if x * x + y * y >= 4:
            at = 0.55 * math.sqrt(steps)
            return tuple(int(127.5 - 127.5 * math.cos(at + shift)) for shift in (0, 0.4, 0.9))
        x, y = x * x - y * y + re_, 2 * x * y + im
    return BLACK


class Picture:
    """What the window showed."""

    def __init__(self, path):
        with open(path, "rb") as file:
            header = file.readline()
            self.bytes = file.read()
        kind, self.width, self.height, most = header[:2], *map(int, header[2:].split())
        assert (kind, most) == (b"P6", 255) and len(self.bytes) == 3 * self.width * self.height, header
        assert self.width >= WIDTH + 2 * MARGIN and self.height > HEIGHT + 2 * MARGIN, header

    def at(self, column, row):
        place = 3 * ((row + MARGIN) * self.width + column + MARGIN)
        return tuple(self.bytes[place:place + 3])


def run(program, xvfb, *words):
    """What the window says at the end, its number of bands and of ticks."""
    with Display(xvfb) as display:
        done = subprocess.run([program, *words], env={**os.environ, "DISPLAY": display}, text=True, timeout=PATIENCE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    print(*words, "->", done.stdout.strip(), done.stderr)
    assert done.returncode == 0 and not done.stderr, f"exit code {done.returncode}"
    said = re.fullmatch(rf"(.*) \((\d+) of {BANDS} bands, \d+\.\d\d s, (\d+) ticks\)\n", done.stdout)
    assert said, "not what the window should say"
    return said[1], int(said[2]), int(said[3])


def main():
    program = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        shot = os.path.join(folder, "window.ppm")

        # The whole picture. On a machine that is done before the clock ticks once, a deeper one.
        depth, ticks = 1000, 0
        while ticks == 0:
            outcome, shown, ticks = run(*program, str(depth), "start", "end", shot)
            assert (outcome, shown) == ("done", BANDS)
            drawn, depth = depth, 4 * depth
        picture = Picture(shot)
        points = [(x, y) for x in range(0, WIDTH, 8) for y in range(0, HEIGHT, 8)]
        wanted = {point: expected(*point, drawn) for point in points}
        wrong = [p for p in points if max(abs(a - b) for a, b in zip(picture.at(*p), wanted[p])) > 1]
        assert len(set(wanted.values())) > 20 and BLACK in wanted.values()
        # A compiler may round a product and its sum at once; at the edge of the set that changes some points.
        assert len(wrong) <= len(points) // 100, [(p, picture.at(*p), wanted[p]) for p in wrong[:5]]

        outcome, shown, ticks = run(*program, ENDLESS, "start", "tick", "tick", "tick", "tick", "cancel", "end",
                                    shot)
        # The first tick may have come just before the drawing began, the other three have not.
        assert outcome == "cancelled" and shown < BANDS and ticks >= 3
        picture = Picture(shot)
        assert {picture.at(x, HEIGHT // 2) for x in range(WIDTH)} == {UNDRAWN}
        assert {picture.at(x, HEIGHT - 1) for x in range(WIDTH)} == {UNDRAWN}

        outcome, shown, _ = run(*program, "0", "start", "end")
        assert (outcome, shown) == ("failed: a depth of 0 is too small", 0)
        # After that, and after a cancelled one, it can be started again.
        outcome, shown, _ = run(*program, "-5", "start", "end", ENDLESS, "start", "cancel", "end", "50", "start", "end")
        assert (outcome, shown) == ("done", BANDS)

        outcome, _, _ = run(*program, ENDLESS, "start", "tick", "tick")  # and then it is closed
        assert outcome == "drawing"


main()
