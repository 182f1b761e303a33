#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Shows what each public header costs whoever includes it, beside the standard's own.

usage: header_cost.py SOURCE_DIR COMPILER [FLAG...]

Lines are what the preprocessor hands on; they are the same on every run, so they are the gate:
<errand/task.hpp> may not exceed <thread> plus <future>. Seconds (best of three) are for reading.
Each header is compiled alone, so one that leans on another's includes fails here, too.
"""
import pathlib
import subprocess
import sys
import time

YARDSTICK = "#include <thread>\n#include <future>\n"
GATED = "errand/task.hpp"


class Compiler:
    def __init__(self, root, command):
        self.command = [*command, "-std=c++20", f"-I{root}/include", "-x", "c++", "-"]

    def call(self, mode, text):
        done = subprocess.run([*self.command, mode], input=text, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"does not compile alone:\n{text}\n{done.stderr}")
        return done.stdout

    def lines(self, text):
        return self.call("-E", text).count("\n")

    def seconds(self, text):
        def once():
            start = time.perf_counter()
            self.call("-fsyntax-only", text)
            return time.perf_counter() - start

        return min(once() for _ in range(3))


def main():
    root, compiler = pathlib.Path(sys.argv[1]), Compiler(sys.argv[1], sys.argv[2:])
    headers = sorted((root / "include/errand").glob("*.hpp"))
    rows = {"<thread> + <future>": YARDSTICK}
    rows |= {f"<errand/{header.name}>": f"#include <errand/{header.name}>\n" for header in headers}

    print(f"{'header':28}{'lines':>8}{'seconds':>9}")
    lines = {}
    for name, text in rows.items():
        lines[name] = compiler.lines(text)
        print(f"{name:28}{lines[name]:8}{compiler.seconds(text):9.2f}")

    limit, cost = lines["<thread> + <future>"], lines.get(f"<{GATED}>", 0)
    if cost > limit:
        print(f"<{GATED}> costs {cost} lines, more than <thread> + <future> ({limit})")
    return cost > limit


sys.exit(main())
