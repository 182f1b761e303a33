// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The same work in other languages, each as one would write it there.
#include "bench/failure.hpp"
#include "bench/python_script.hpp"
#include "bench/shell.hpp"
#include "bench/text_programs.hpp"

#include <fmt/format.h>

#include <fstream>

namespace bench {
namespace {

// %d has 32 bits in some of them.
constexpr char const* awk_program = R"awk({
  key = "-"
  for (i = 1; i <= NF; ++i) if ($i ~ /^[A-Za-z\200-\377]/) { key = substr($i, 1, 32); break }
  value = length($0)
  if ($NF ~ /^[0-9]+$/) value = $NF + 0
  else if (match($0, /[0-9]+[^0-9]*$/)) value = substr($0, RSTART) + 0
  if (value % 2 == 1) print > selected
  printf "%s\t%.0f\n", key, value > table
  if (!(key in lines) || value < least[key]) least[key] = value
  if (!(key in lines) || value > greatest[key]) greatest[key] = value
  ++lines[key]
  sum[key] += value
}
END {
  for (key in lines)
    printf "%s\t%.0f\t%.0f\t%.0f\t%.0f\n", key, lines[key], sum[key], least[key], greatest[key] | "sort > " totals
})awk";

void must_succeed(std::string const& name, std::string const& command) {
  ended_program const ended = run_program("LC_ALL=C; export LC_ALL; { " + command + "; } 2>&1 </dev/null");
  if (ended.status != 0) throw failure(name + ": " + last_line(ended.output));
}

std::string in_shell(std::string const& path) { return quoted_for_shell(path); }

}  // namespace

void analyse_by_awk(text_job const& job) {
  // A path as a variable's value may have escapes in awk, and a shell in it must be quoted once more: names without either.
  must_succeed("awk", fmt::format("cd {} && awk -v selected=selected.txt -v table=table.tsv -v totals=totals.tsv {} {}",
                                  in_shell(job.directory), in_shell(awk_program), in_shell(job.input)));
}

void analyse_by_python(text_job const& job) {
  std::string const script = job.directory + "/text.py";
  std::ofstream(script, std::ios::binary) << python_text_script;
  must_succeed("python3", fmt::format("python3 {} {} {} {} {}", in_shell(script), in_shell(job.input),
                                      in_shell(job.selected()), in_shell(job.table()), in_shell(job.totals())));
}

void count_by_sort(text_job const& job) {
  must_succeed("sort", fmt::format("cd {} && cut -d ' ' -f 3 {} | sort -T . | uniq -c > counts.txt",
                                   in_shell(job.directory), in_shell(job.input)));
}

}  // namespace bench
