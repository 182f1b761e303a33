// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/auxiliary_file.hpp"
#include "bench/text_analysis.hpp"
#include "bench/text_programs.hpp"

#include "bench/failure.hpp"

#include <cerrno>
#include <fstream>

namespace bench {
namespace {

// The control and the program with errand are this one function: only the type of the files differs.
template <class File>
void analyse(text_job const& job) {
  std::ifstream in(job.input, std::ios::binary);
  if (!in) throw os_failure("read " + job.input, errno);
  File selected(job.selected());
  File table(job.table());
  totals_by_key result;
  for (std::string line; std::getline(in, line);) analyse_line(line, result, selected, table);
  if (in.bad()) throw os_failure("read " + job.input, errno);

  selected.finish();
  table.finish();
  stream_file totals(job.totals());
  totals.append(result.to_text());
  totals.finish();
}

}  // namespace

void analyse_serially(text_job const& job) { analyse<stream_file>(job); }

void analyse_and_hand_off(text_job const& job) { analyse<handed_off_file>(job); }

}  // namespace bench
