// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The control: a loop over the jobs, no library at all. Every ratio and every ideal of the C++
// rows is computed from this row.
#include "bench/technique.hpp"

namespace bench {
namespace {

class plain_loop : public runner {
 public:
  explicit plain_loop(int /*workers*/) {}

  void run(std::span<job const> jobs, std::span<answer> answers) override {
    for (std::size_t i = 0; i < jobs.size(); ++i) answers[i] = run_job(jobs[i]);
  }

  void run_fine(std::span<job const> jobs, std::span<answer> answers) override {
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      answers[i] = jobs[i].kind == job_kind::count ? count_by_dispatches(jobs[i], inner_loop) : run_job(jobs[i]);
    }
  }
};

}  // namespace

void add_control_rows(std::vector<technique>& rows) {
  rows.push_back(make_technique<plain_loop>("serial-c++", "serial C++", family::control, "a loop"));
}

}  // namespace bench
