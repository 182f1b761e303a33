// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The empty job of the process rows, and who did it. Ours and the rivals' is the same: it returns its argument beside the
// number of the process in which it ran. So each answer proves that its job was done, and where.
#pragma once

#include "round_trips.hpp"

#include <algorithm>
#include <vector>

#include <unistd.h>

namespace microbench {

struct stamp {
  std::uint32_t process;
  std::uint32_t argument;
};

// For workers: the process that asks for it first, and those that it forks, would all have its number.
inline stamp stamped(std::uint32_t argument) {
  static auto const process = static_cast<std::uint32_t>(::getpid());
  return {process, argument};
}

// Which processes answered, how often, and what processor time they used.
class attendance {
 public:
  void note(stamp answer, std::uint32_t asked) {
    require(answer.argument == asked, "an answer is not that of its job");
    note(static_cast<pid_t>(answer.process));
  }
  void note(pid_t process) {
    if (process != last_) meet(process);
    ++answers_;
    if (process != here_) ++elsewhere_;
  }

  // Forgets the answers, remembers the processes.
  void count_anew() { answers_ = elsewhere_ = 0; }

  // Of this process and of those that have answered; they must be there still.
  [[nodiscard]] std::int64_t cpu_ns() const {
    auto sum = microbench::cpu_ns();
    for (auto const p : others_) sum += cpu_ns_of(p);
    return sum;
  }
  [[nodiscard]] std::vector<pid_t> const& others() const { return others_; }

  // Verifies the number of the answers.
  [[nodiscard]] std::vector<fact> facts(std::uint64_t expected) const {
    require(answers_ == expected, "some jobs were not answered");
    return {{"processes", static_cast<double>(others_.size())},
            {"% elsewhere", 100 * static_cast<double>(elsewhere_) / static_cast<double>(answers_)}};
  }

 private:
  void meet(pid_t process) {
    last_ = process;
    if (process != here_ && std::find(others_.begin(), others_.end(), process) == others_.end()) others_.push_back(process);
  }

  pid_t here_ = ::getpid();
  pid_t last_ = 0;
  std::uint64_t answers_ = 0;
  std::uint64_t elsewhere_ = 0;
  std::vector<pid_t> others_{};
};

// One after the other. ask(i) has stamped(i) run in another process and returns its answer. Mean, in microseconds.
template <class Ask>
sample hot_process_trips(std::size_t count, Ask ask) {
  attendance who;
  for (std::uint32_t i = 0; i < trips_to_warm_up; ++i) who.note(ask(i), i);
  who.count_anew();
  auto const cpu = who.cpu_ns();
  auto const begin = now_ns();
  for (std::uint32_t i = 0; i < count; ++i) who.note(ask(i), i);
  auto const end = now_ns();
  auto facts = who.facts(count);
  facts.push_back({"CPU", ns_each(cpu, who.cpu_ns(), 1) / ns_each(begin, end, 1)});
  return {ns_each(begin, end, 1000 * count), std::move(facts)};
}

}  // namespace microbench
