// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The two programs with errand: one that reads like the serial one, and one on all workers.
#include "bench/auxiliary_file.hpp"
#include "bench/text_analysis.hpp"
#include "bench/text_programs.hpp"

#include <errand/io.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace bench {
namespace {

// The lines that one worker collects for a file that all share: they are handed over many at a time, and while the next are
// collected, the last are written.
class shared_file_part {
 public:
  void append(std::string_view text) { collected_ += text; }
  void hand_over(errand::file& to) {
    if (under_way_.valid()) under_way_.get();
    under_way_ = to.append(std::exchange(collected_, {}));
  }
  void hand_over_if_many(errand::file& to) {
    if (collected_.size() > many) hand_over(to);
  }
  void finish(errand::file& to) {
    hand_over(to);
    under_way_.get();
  }

 private:
  static constexpr std::size_t many = 64 << 10;
  std::string collected_;
  errand::future<void> under_way_;
};

struct part {
  totals_by_key totals;
  shared_file_part selected;
  shared_file_part table;
};

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
  errand::file selected(job.selected(), errand::open_mode::write);
  errand::file table(job.table(), errand::open_mode::write);
  part all = errand::reduce_lines(
      job.input, [] { return part(); },
      [&](part& mine, std::string_view line) {
        analyse_line(line, mine.totals, mine.selected, mine.table);
        mine.selected.hand_over_if_many(selected);
        mine.table.hand_over_if_many(table);
      },
      [&](part& into, part&& from) {
        into.totals.add(from.totals);
        from.selected.finish(selected);
        from.table.finish(table);
      });
  all.selected.finish(selected);
  all.table.finish(table);
  selected.close();
  table.close();
  errand::write_file(job.totals(), all.totals.to_text()).get();
}

}  // namespace bench
