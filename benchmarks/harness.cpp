// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "harness.hpp"

#include "own_process.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <thread>

namespace microbench {

namespace {

std::vector<subject>& registered() {
  static std::vector<subject> all;
  return all;
}

// Long enough for the threads of the subject before to go to sleep, so that nobody is measured beside a rival's spinning.
constexpr std::chrono::milliseconds between_subjects{5};

// A subject of one row at work: it either repeats here or has it done.
class contender {
 public:
  contender(subject const& who, settings const& how) : how_{how} { result_.who = &who; }

  void repeat(bool reported) {
    if (!result_.error.empty()) return;
    std::this_thread::sleep_for(between_subjects);
    try {
      sample s = once();
      require(std::isfinite(s.cost), "a cost that is no number");
      if (!reported) return;
      result_.costs.push_back(s.cost);
      for (std::size_t i = 0; i < s.facts.size(); ++i) {
        if (i == seen_.size()) seen_.push_back({});
        seen_[i].push_back(s.facts[i].value);
      }
      names_ = std::move(s.facts);
    } catch (std::exception const& e) {
      result_.error = e.what();
      result_.costs.clear();
    }
  }

  measured finish() {
    for (std::size_t i = 0; i < names_.size() && !result_.costs.empty(); ++i)
      result_.facts.push_back({names_[i].name, median(seen_[i])});
    return std::move(result_);
  }

  [[nodiscard]] subject const& who() const { return *result_.who; }

 private:
  sample once() {
    if (who().where == place::own_process) return repeat_in_own_process(who(), how_);
    if (!work_) work_ = who().begin(how_);
    return work_();
  }

  settings const& how_;
  repetition work_;
  std::vector<fact> names_;                // of the last repetition
  std::vector<std::vector<double>> seen_;  // their values in all repetitions
  measured result_;
};

}  // namespace

add::add(char const* row, role plays, char const* name, repetition (*begin)(settings const&), place where) {
  registered().push_back({row, plays, name, begin, where});
}

std::vector<subject const*> subjects_of(std::string const& row) {
  std::vector<subject const*> found;
  for (auto const& s : registered())
    if (s.row == row) found.push_back(&s);
  std::stable_sort(found.begin(), found.end(), [](auto const* a, auto const* b) { return a->plays < b->plays; });
  return found;
}

std::vector<measured> measure(std::string const& row, settings const& how, unsigned runs,
                              std::function<void(std::string const&)> const& progress) {
  std::vector<contender> contenders;
  for (auto const* s : subjects_of(row)) contenders.emplace_back(*s, how);
  for (unsigned run = 0; run <= runs; ++run) {
    for (auto& c : contenders) {
      progress(row + ": " + c.who().name + ", " +
               (run == 0 ? "verifying" : std::to_string(run) + "/" + std::to_string(runs)));
      c.repeat(run != 0);
    }
  }
  std::vector<measured> results;
  for (auto& c : contenders) results.push_back(c.finish());
  return results;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  auto const half = values.size() / 2;
  return values.size() % 2 != 0 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double percentile(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  auto const rank = static_cast<std::size_t>(std::ceil(percent / 100 * static_cast<double>(values.size())));
  return values[std::clamp<std::size_t>(rank, 1, values.size()) - 1];
}

}  // namespace microbench
