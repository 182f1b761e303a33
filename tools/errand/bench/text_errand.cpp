// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The two programs with errand: one that reads like the serial one, and one on all workers.
#include "bench/auxiliary_file.hpp"
#include "bench/text_analysis.hpp"
#include "bench/text_programs.hpp"

#include <errand/io.hpp>

namespace bench {
namespace {

// What one worker collects, and hands to the files many lines at a time: their locks are then out of the way.
struct part {
  static constexpr std::size_t many = 64 << 10;

  totals_by_key totals;
  std::string selected;
  std::string table;
};

void hand_over(std::string& collected, behind_file& to) {
  to.append(collected);
  collected.clear();
}

}  // namespace

void analyse_as_lines(text_job const& job) {
  behind_file selected(job.selected());
  behind_file table(job.table());
  totals_by_key result;
  for (std::string_view const line : errand::lines(job.input)) analyse_line(line, result, selected, table);
  selected.finish();
  table.finish();
  errand::write_file(job.totals(), result.to_text()).get();
}

void analyse_by_reducing(text_job const& job) {
  behind_file selected(job.selected());
  behind_file table(job.table());
  part all = errand::reduce_lines(
      job.input, [] { return part(); },
      [&](part& mine, std::string_view line) {
        analyse_line(line, mine.totals, mine.selected, mine.table);
        if (mine.selected.size() > part::many) hand_over(mine.selected, selected);
        if (mine.table.size() > part::many) hand_over(mine.table, table);
      },
      [&](part& into, part&& from) {
        into.totals.add(from.totals);
        into.selected += from.selected;
        into.table += from.table;
      });
  hand_over(all.selected, selected);
  hand_over(all.table, table);
  selected.finish();
  table.finish();
  errand::write_file(job.totals(), all.totals.to_text()).get();
}

}  // namespace bench
