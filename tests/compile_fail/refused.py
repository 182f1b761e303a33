#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks that a file compiles, and that with MUST_NOT_COMPILE defined it is refused for its reason.

usage: refused.py FILE COMPILER [FLAG...]

The file names the reason in one or more lines `// expect: TEXT`. Compilers word their errors
differently, so one of the texts has to be found, not all. Building both ways keeps a case honest:
a file that fails for a typing error fails without the macro, too.

Two more lines may ask for more: `// errors: 1` for so many errors and no page of them, and `// names: TEXT` for something
that has to be in the complaint beside the reason, such as the type.
"""
import re
import subprocess
import sys


def compile_errors(command, path):
    """The compiler's complaints about `path`; None when it compiles."""
    done = subprocess.run([*command, "-fsyntax-only", path], capture_output=True, text=True)
    return None if done.returncode == 0 else done.stderr


def main():
    path, *command = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        text = file.read()
    expected = re.findall(r"^// expect: (.+)$", text, re.MULTILINE)

    if not expected or "MUST_NOT_COMPILE" not in text:
        return f"{path}: needs a line '// expect: TEXT' and a part under #ifdef MUST_NOT_COMPILE"
    if (errors := compile_errors(command, path)) is not None:
        return f"{path}: must compile without MUST_NOT_COMPILE, but:\n{errors}"
    errors = compile_errors([*command, "-DMUST_NOT_COMPILE"], path)
    if errors is None:
        return f"{path}: compiles with MUST_NOT_COMPILE, and must not"
    if not any(reason in errors for reason in expected):
        wanted = "\n  ".join(expected)
        return f"{path}: refused, but for another reason; expected one of\n  {wanted}\ngot\n{errors}"
    for count in re.findall(r"^// errors: (\d+)$", text, re.MULTILINE):
        found = len(re.findall(r"\berror: ", errors))
        if found != int(count):
            return f"{path}: {found} errors instead of {count}:\n{errors}"
    for name in re.findall(r"^// names: (.+)$", text, re.MULTILINE):
        if name not in errors:
            return f"{path}: the complaint does not name {name}:\n{errors}"
    print(f"{path}: refused as expected")
    return 0


sys.exit(main())
