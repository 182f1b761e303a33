// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// OpenMP: a parallel loop with dynamic schedule over the jobs. A fine-grained dispatch is a task
// followed by taskwait.
#include "bench/technique.hpp"

namespace bench {
namespace {

unit as_omp_task(std::uint64_t i) {
  unit result;
#pragma omp task shared(result) firstprivate(i)
  result = inner_loop(i);
#pragma omp taskwait
  return result;
}

class omp_loop : public runner {
 public:
  explicit omp_loop(int workers) : workers_(workers) {}

  void run(std::span<job const> jobs, std::span<answer> answers) override {
#pragma omp parallel for schedule(dynamic, 1) num_threads(workers_)
    for (std::size_t i = 0; i < jobs.size(); ++i) answers[i] = run_job(jobs[i]);
  }

  void run_fine(std::span<job const> jobs, std::span<answer> answers) override {
#pragma omp parallel for schedule(dynamic, 1) num_threads(workers_)
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      answers[i] = jobs[i].kind == job_kind::count ? count_by_dispatches(jobs[i], as_omp_task) : run_job(jobs[i]);
    }
  }

 private:
  int workers_;
};

}  // namespace

void add_openmp_rows(std::vector<technique>& rows) {
  rows.push_back(make_technique<omp_loop>("openmp", "OpenMP", family::rival, "task and taskwait"));
}

}  // namespace bench
