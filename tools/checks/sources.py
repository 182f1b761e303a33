#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fails on sources that break a rule of the house that a machine can see.

usage: sources.py SOURCE_DIR

1. Line 1 (2 in a script) is the licence's SPDX line.
2. No file exceeds 1000 lines: look for the second idea.
3. In src/ and include/, an atomic operation or fence that is not relaxed names its partner: a tag such as (P1)
   on its line or in the statement or comment just above it, and each tag stands in two places at least.
"""
import pathlib
import re
import sys
from collections import Counter

FOLDERS = ("include", "src", "tests", "tools", "benchmarks", "examples", "cmake")
SUFFIXES = (".hpp", ".cpp", ".S", ".py", ".cmake", ".txt", ".sh")
LICENCE = "SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception"
ORDERED = re.compile(r"memory_order(_|::)(acquire|release|acq_rel|seq_cst)\b")
TAG = re.compile(r"\(([A-Z]{1,3}\d+[a-z]?)\)")


def unlicensed(path, lines):
    # What a benchmark has printed is nobody's work.
    return path.name != "layers.txt" and "results" not in path.parts and not any(LICENCE in line for line in lines[:2])


def tags_near(lines, index):
    """The tags on a line, or else on the lines above it back to the last finished statement and its comment."""
    if tags := TAG.findall(lines[index]):
        return tags
    in_comment = False
    for line in reversed(lines[:index]):
        text = line.strip()
        is_comment = text.startswith("//")
        finished = text.partition("//")[0].rstrip().endswith((";", "{", "}", ":"))
        if not text or in_comment and not is_comment or finished and not text.endswith("("):
            return []
        if tags := TAG.findall(line):
            return tags
        in_comment = is_comment
    return []


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    problems, tagged = [], Counter()
    first_use = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in SUFFIXES or not path.is_file():
                continue
            name = path.relative_to(root)
            lines = path.read_text(encoding="utf-8").splitlines()
            if unlicensed(path, lines):
                problems.append(f"{name}:1: no line '{LICENCE}'")
            if len(lines) > 1000:
                problems.append(f"{name}:1: {len(lines)} lines; 1000 are the limit")
            if folder not in ("src", "include") or path.name.endswith("_test.cpp"):
                continue
            for index, line in enumerate(lines):
                for tag in TAG.findall(line):
                    tagged[tag] += 1
                    first_use.setdefault(tag, f"{name}:{index + 1}")
                if ORDERED.search(line.partition("//")[0]) and not tags_near(lines, index):
                    problems.append(f"{name}:{index + 1}: an ordered atomic operation that names no partner")
    problems += [
        f"{where}: ({tag}) is named only here; where is its partner?"
        for tag, where in first_use.items()
        if tagged[tag] < 2
    ]
    print("\n".join(problems) or "the sources keep the rules")
    return bool(problems)


sys.exit(main())
