// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/auxiliary_file.hpp"
#include "bench/failure.hpp"
#include "bench/text_analysis.hpp"
#include "bench/text_programs.hpp"

#include <cerrno>
#include <fstream>

namespace bench {

void analyse_serially(text_job const& job) {
  std::ifstream in(job.input, std::ios::binary);
  if (!in) throw os_failure("read " + job.input, errno);
  stream_file selected(job.selected());
  stream_file table(job.table());
  totals_by_key result;
  for (std::string line; std::getline(in, line);) analyse_line(line, result, selected, table);
  if (in.bad()) throw os_failure("read " + job.input, errno);
  selected.finish();
  table.finish();

  stream_file totals(job.totals());
  totals.append(result.to_text());
  totals.finish();
}

}  // namespace bench
