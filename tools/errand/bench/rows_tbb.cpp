// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// oneTBB: a task_group in an arena of as many slots as there are workers, the calling thread
// being one of them. A fine-grained dispatch is a task run and waited for.
#include "bench/technique.hpp"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

namespace bench {
namespace {

class tbb_tasks : public runner {
 public:
  explicit tbb_tasks(int workers)
      : limit_(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(workers)), arena_(workers) {}

  void run(std::span<job const> jobs, std::span<answer> answers) override { on_each_job(jobs, answers, run_job); }

  void run_fine(std::span<job const> jobs, std::span<answer> answers) override {
    on_each_job(jobs, answers, [](job const& j) {
      if (j.kind != job_kind::count) return run_job(j);
      tbb::task_group one;
      return count_by_dispatches(j, [&](std::uint64_t i) {
        unit result;
        one.run([&] { result = inner_loop(i); });
        one.wait();
        return result;
      });
    });
  }

 private:
  template <class Body>
  void on_each_job(std::span<job const> jobs, std::span<answer> answers, Body const& body) {
    arena_.execute([&] {
      tbb::task_group group;
      for (std::size_t i = 0; i < jobs.size(); ++i) {
        group.run([&, i] { answers[i] = body(jobs[i]); });
      }
      group.wait();
    });
  }

  tbb::global_control limit_;  // before the arena: it is what makes the workers as many as asked
  tbb::task_arena arena_;
};

}  // namespace

void add_tbb_rows(std::vector<technique>& rows) {
  rows.push_back(make_technique<tbb_tasks>("tbb", "oneTBB", family::rival, "task_group, run and wait"));
}

}  // namespace bench
