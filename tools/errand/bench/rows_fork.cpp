// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Processes by hand: a child for each job, at most as many at once as there are workers, answers
// in shared memory. Fine-grained, each job's child forks a grandchild for every inner loop and
// waits for it.
#include "bench/failure.hpp"
#include "bench/technique.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

namespace bench {
namespace {

// An array that children write and the parent reads.
template <class T>
class shared_array {
 public:
  explicit shared_array(std::size_t n) : n_(n) {
    void* memory = mmap(nullptr, n * sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw os_failure("map shared memory", errno);
    first_ = new (memory) T[n];
  }
  ~shared_array() { munmap(first_, n_ * sizeof(T)); }
  shared_array(shared_array const&) = delete;
  shared_array& operator=(shared_array const&) = delete;

  T& operator[](std::size_t i) { return first_[i]; }
  T const* begin() const { return first_; }
  T const* end() const { return first_ + n_; }

 private:
  std::size_t n_;
  T* first_;
};

template <class Body>
pid_t fork_and_run(Body const& body) {
  pid_t const pid = fork();
  if (pid < 0) throw os_failure("fork", errno);
  if (pid > 0) return pid;
  int status = 0;
  try {
    body();
  } catch (...) {
    status = 1;
  }
  _exit(status);
}

// Waits for one child, any if pid is -1. This process has no others.
void reap(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) throw os_failure("wait for a child", errno);
  }
  if (status != 0) throw failure("a forked child failed");
}

class forks : public runner {
 public:
  explicit forks(int workers) : workers_(workers) {}

  void run(std::span<job const> jobs, std::span<answer> answers) override { on_each_job(jobs, answers, run_job); }

  void run_fine(std::span<job const> jobs, std::span<answer> answers) override {
    on_each_job(jobs, answers, [](job const& j) {
      if (j.kind != job_kind::count) return run_job(j);
      shared_array<unit> slot(1);
      return count_by_dispatches(j, [&](std::uint64_t i) {
        reap(fork_and_run([&] { slot[0] = inner_loop(i); }));
        return slot[0];
      });
    });
  }

 private:
  template <class Body>
  void on_each_job(std::span<job const> jobs, std::span<answer> answers, Body const& body) {
    shared_array<answer> results(jobs.size());
    int running = 0;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      if (running == workers_) {
        reap(-1);
        --running;
      }
      fork_and_run([&] { results[i] = body(jobs[i]); });
      ++running;
    }
    for (; running > 0; --running) reap(-1);
    std::copy(results.begin(), results.end(), answers.begin());
  }

  int workers_;
};

}  // namespace

void add_fork_rows(std::vector<technique>& rows) {
  rows.push_back(make_technique<forks>("fork", "fork", family::rival, "a process for each dispatch"));
}

}  // namespace bench
