// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The author's real work, written three times; `errand bench text` compares them. All three produce
// the same three files in the directory they are given.
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

// The same loop; each full buffer of an auxiliary file is handed to errand::async.
void analyse_and_hand_off(text_job const& job);

// errand::map over pieces of the file, a few at a time, so that memory stays bounded.
void analyse_in_pieces(text_job const& job);

}  // namespace bench
