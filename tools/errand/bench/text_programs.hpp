// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The author's real work, written in several ways; `errand bench text` compares them. All produce
// the same three files in the directory they are given, or a part of them as it says below.
#pragma once

#include <string>

namespace bench {

struct text_job {
  std::string input;
  std::string directory;
  int workers = 1;

  std::string selected() const { return directory + "/selected.txt"; }
  std::string table() const { return directory + "/table.tsv"; }
  std::string totals() const { return directory + "/totals.tsv"; }
};

// Serial code with std::ifstream and std::ofstream: what one writes without a library.
void analyse_serially(text_job const& job);

// The same loop over errand::lines, its files written by errand::file_writer.
void analyse_as_lines(text_job const& job);

// errand::reduce_lines: all workers share the lines, so the auxiliary files have theirs in no order.
void analyse_by_reducing(text_job const& job);

// The same work by awk and by Python, and the keys alone counted by cut, sort and uniq into counts.txt: what else people use for
// it. Texts with numbers beyond 2^53 are too much for awk; cut takes the third word for the key, as it is in a generated text.
void analyse_by_awk(text_job const& job);
void analyse_by_python(text_job const& job);
void count_by_sort(text_job const& job);

}  // namespace bench
