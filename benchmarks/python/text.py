# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The analysis of `errand bench text` in Python, as one would write it: lines counted and added up per key, two files
written on the way.

    python3 text.py INPUT SELECTED TABLE TOTALS
"""

import re
import sys

LAST_NUMBER = re.compile(rb"(\d{1,18})\D*$")
FIRST_WORD = re.compile(rb"(?:^|[ \t\r])([A-Za-z\x80-\xff][^ \t\r]*)")


def main():
    source, selected_path, table_path, totals_path = sys.argv[1:]
    totals = {}
    with open(source, "rb") as text, open(selected_path, "wb") as selected, open(table_path, "wb") as table:
        for line in text:
            line = line.removesuffix(b"\n")
            word = FIRST_WORD.search(line)
            key = word[1][:32] if word else b"-"
            number = LAST_NUMBER.search(line)
            value = int(number[1]) if number else len(line)
            if value % 2 == 1:
                selected.write(line + b"\n")
            table.write(b"%s\t%d\n" % (key, value))
            entry = totals.get(key)
            if entry is None:
                totals[key] = [1, value, value, value]
            else:
                entry[0] += 1
                entry[1] += value
                entry[2] = min(entry[2], value)
                entry[3] = max(entry[3], value)
    with open(totals_path, "wb") as out:
        out.writelines(sorted(b"%s\t%d\t%d\t%d\t%d\n" % (key, *entry) for key, entry in totals.items()))


if __name__ == "__main__":
    main()
