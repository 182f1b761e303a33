// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The harness of errand-microbench: what a row is, who competes in it, and how they are measured. Rows stand in rows.cpp;
// the files in rows/, rivals/ and floors/ add their subjects to a row by its name, so a rival that is not installed is a
// file that is not compiled. main.cpp measures the rows and hands the results to report.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace microbench {

struct settings {
  unsigned workers = 1;                               // of every pool that a row does not fix otherwise
  bool quick = false;                                 // a check that everything works; its figures mean little
  std::uint64_t file_bytes = std::uint64_t{2} << 30;  // of a large file
  std::string scratch{};    // the directory for files; removed with all that is in it when all is over
  std::size_t exactly = 0;  // so many times, whatever makes a good repetition; for counting instructions

  // How often to do something of which `full` make a good repetition.
  [[nodiscard]] std::size_t times(std::size_t full) const {
    return exactly != 0 ? exactly : quick ? full / 50 + 1 : full;
  }
};

// Something counted beside a cost that shows whether the cost was honestly come by.
struct fact {
  std::string name;
  double value;
};

// What one repetition gives: the cost in the row's unit (less is better) and the facts.
struct sample {
  double cost = 0;
  std::vector<fact> facts{};
};

// What was computed is not what should have been: the row is not reported, and the program ends with status 2.
class wrong_result : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
inline void require(bool right, char const* what) {
  if (!right) throw wrong_result{what};
}

enum class role : std::uint8_t {
  ours,
  rival,
  floor,  // the least that the thing can cost: what ratios are taken to
};

// One repetition, any number of times. It owns what it needs from one to the next: a pool, a thread.
using repetition = std::function<sample()>;

enum class place : std::uint8_t {
  here,
  own_process,  // a fresh process for each repetition: memory, CPU time and threads are then its alone
};

struct subject {
  std::string row;
  role plays;
  std::string name;
  repetition (*begin)(settings const&);
  place where;
};

// Registers a subject, from a static initialiser.
struct add {
  add(char const* row, role plays, char const* name, repetition (*begin)(settings const&), place where = place::here);
};

struct measured {
  subject const* who = nullptr;
  std::vector<double> costs{};  // one for each repetition, in their order
  std::vector<fact> facts{};    // medians over the repetitions
  std::string error{};          // why there are no costs
};

// All subjects of a row: ours, rivals, floors; in each the order of the files' names.
[[nodiscard]] std::vector<subject const*> subjects_of(std::string const& row);

// Lets every subject repeat once unreported, which verifies and warms up, then `runs` times round robin.
// `progress` is told who is at work.
[[nodiscard]] std::vector<measured> measure(std::string const& row, settings const& how, unsigned runs,
                                            std::function<void(std::string const&)> const& progress);

[[nodiscard]] double median(std::vector<double> values);
// The value that `percent` of the values do not exceed.
[[nodiscard]] double percentile(std::vector<double> values, double percent);

}  // namespace microbench
