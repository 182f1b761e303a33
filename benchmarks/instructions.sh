#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Instructions for each task of a few rows, by valgrind's callgrind: a number that is the same on a busy
# machine and a quiet one. What a row costs once cancels: it is counted with few tasks and with many, and
# the difference is divided. (yield and park-resume: for two, one of either task.)
#
#   benchmarks/instructions.sh [BINARY]      build/release/errand-microbench unless given
set -euo pipefail

binary=${1:-$(dirname "${BASH_SOURCE[0]}")/../build/release/errand-microbench}
[[ -x $binary ]] || { echo "no $binary: build the release preset, or name the binary" >&2; exit 2; }
command -v valgrind > /dev/null || { echo "valgrind is not installed" >&2; exit 2; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

few=1000 many=11000

# instructions ROW SUBJECT TASKS: of one repetition with so many tasks, by all threads. The zygote of errand's worker
# processes, which the program forks, writes a file of its own.
instructions() {
    valgrind --tool=callgrind --callgrind-out-file="$scratch/out.%p" --fair-sched=yes \
        "$binary" --repeat "$1" "$2" --times "$3" > /dev/null 2> "$scratch/log" &
    local -r program=$!
    wait "$program" || { cat "$scratch/log" >&2; exit 2; }
    awk '/^(totals|summary):/ { sum = $2 } END { print sum }' "$scratch/out.$program"
}

printf '%-20s%-36s%s\n' row who 'instructions per task'
while IFS=: read -r row subject; do
    # A subject that was not compiled in is left out.
    "$binary" --list --filter "$row" | grep -qxF "    $subject" || continue
    a=$(instructions "$row" "$subject" "$few")
    b=$(instructions "$row" "$subject" "$many")
    printf '%-20s%-36s%6d\n' "$row" "$subject" $(((b - a) / (many - few)))
done << 'ROWS'
spawn-join-1:errand
spawn-join-1:Asio
spawn-join-1:Asio, concurrency hint 1
spawn-join-1:Boost.Fiber, pooled stacks
spawn-join-1:oneTBB
spawn-join-1:noinline call
spawn-join-hop:errand, child a coroutine
yield:errand
yield:Boost.Fiber
park-resume:errand
co-await-child:errand
co-await-child:bare coroutine
ROWS
