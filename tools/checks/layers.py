#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fails on an include that layers.txt does not allow, naming file and line.

usage: layers.py SOURCE_DIR
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<(errand/[^>]+)>)')
MODULE = re.compile(r"^// module: (\w+)$", re.MULTILINE)


def read_table(path):
    """layers.txt as {module: modules it may include, itself among them} and {public header: modules besides}."""
    modules, faces = {}, {}
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if not line:
            continue
        name, _, allowed = line.partition(":")
        if "/" in name:
            faces[name] = set(allowed.split())
        else:
            modules[name] = {name, *allowed.split()}
    return modules, faces


class Check:
    def __init__(self, root):
        self.root = root
        self.problems = []
        self.table, self.faces = read_table(root / "tools/checks/layers.txt")
        for name, allowed in (self.table | self.faces).items():
            if unknown := allowed - self.table.keys():
                self.problem(root / "tools/checks/layers.txt", 1, f"{name} may include unknown {unknown}")

    def problem(self, path, line, what):
        self.problems.append(f"{path.relative_to(self.root)}:{line}: {what}")

    def is_public(self, path):
        return path.is_relative_to(self.root / "include")

    def module_of(self, path):
        """The module a file belongs to: its folder's in src/, its opening comment's in include/."""
        relative = path.relative_to(self.root)
        if relative.parts[0] == "src":
            return relative.parts[1]
        opening = "\n".join(path.read_text(encoding="utf-8").splitlines()[:5])
        named = MODULE.search(opening)
        return named[1] if named else None

    def target_of(self, path, quoted, public):
        """The file that an include names; None for a header that is not ours."""
        if public:
            return self.root / "include" / public
        for candidate in (self.root / "src" / quoted, path.parent / quoted):
            if candidate.exists():
                return candidate
        return None

    def check_file(self, path):
        module = self.module_of(path)
        besides = self.faces.get(str(path.relative_to(self.root / "include"))) if self.is_public(path) else None
        if module is None and besides is None:
            return self.problem(path, 1, "its opening comment needs a line '// module: NAME'")
        if module is not None and module not in self.table:
            return self.problem(path, 1, f"module '{module}' is not in tools/checks/layers.txt")
        allowed = self.table.get(module, set()) | (besides or set())
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            include = INCLUDE.match(line)
            if not include:
                continue
            target = self.target_of(path, include[1], include[2])
            if target is None or not target.exists():
                self.problem(path, number, f"no such file: {include[1] or include[2]}")
            elif include[1] and target != self.root / "src" / include[1]:
                self.problem(path, number, f'written from src/ it is "{target.relative_to(self.root / "src")}"')
            elif self.is_public(path) and not include[2]:
                self.problem(path, number, "a public header includes public headers alone, as <errand/...>")
            elif (other := self.module_of(target)) not in allowed:
                self.problem(path, number, f"{module or path.name} may not include {other or 'a header of no module'}")


def main():
    check = Check(pathlib.Path(sys.argv[1]).resolve())
    files = [
        path
        for folder in ("src", "include/errand")
        for path in sorted((check.root / folder).rglob("*"))
        if path.suffix in (".hpp", ".cpp")
    ]
    for path in files:
        check.check_file(path)
    print("\n".join(check.problems) or f"{len(files)} files keep to tools/checks/layers.txt")
    return bool(check.problems)


sys.exit(main())
