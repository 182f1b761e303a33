// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the standard library offers: std::thread, with the workers taking jobs from a counter,
// and std::async, which starts a thread for each call and knows no limit, so a semaphore keeps
// as many at work as the other rows have. A fine-grained dispatch is a thread in both.
#include "bench/technique.hpp"

#include <atomic>
#include <future>
#include <semaphore>
#include <thread>

namespace bench {
namespace {

class std_threads : public runner {
 public:
  explicit std_threads(int workers) : workers_(static_cast<std::size_t>(workers)) {}

  void run(std::span<job const> jobs, std::span<answer> answers) override {
    on_each_job(jobs, [&](std::size_t i) { answers[i] = run_job(jobs[i]); });
  }

  void run_fine(std::span<job const> jobs, std::span<answer> answers) override {
    on_each_job(jobs, [&](std::size_t i) {
      answers[i] = jobs[i].kind == job_kind::count ? count_by_dispatches(jobs[i], on_a_thread) : run_job(jobs[i]);
    });
  }

 private:
  static unit on_a_thread(std::uint64_t i) {
    unit result;
    std::thread([&] { result = inner_loop(i); }).join();
    return result;
  }

  template <class Body>
  void on_each_job(std::span<job const> jobs, Body const& body) {
    std::atomic<std::size_t> next{0};
    std::vector<std::thread> threads;
    for (std::size_t w = 0; w < workers_; ++w) {
      threads.emplace_back([&] {
        for (std::size_t i = next++; i < jobs.size(); i = next++) body(i);
      });
    }
    for (std::thread& t : threads) t.join();
  }

  std::size_t workers_;
};

class std_async : public runner {
 public:
  explicit std_async(int workers) : free_(workers) {}

  void run(std::span<job const> jobs, std::span<answer> answers) override { on_each_job(jobs, answers, run_job); }

  void run_fine(std::span<job const> jobs, std::span<answer> answers) override {
    on_each_job(jobs, answers, [](job const& j) {
      return j.kind == job_kind::count ? count_by_dispatches(j, on_a_thread) : run_job(j);
    });
  }

 private:
  static unit on_a_thread(std::uint64_t i) { return std::async(std::launch::async, inner_loop, i).get(); }

  template <class Body>
  void on_each_job(std::span<job const> jobs, std::span<answer> answers, Body const& body) {
    std::vector<std::future<answer>> futures;
    for (job const& j : jobs) {
      futures.push_back(std::async(std::launch::async, [&, this] {
        free_.acquire();
        answer const a = body(j);
        free_.release();
        return a;
      }));
    }
    for (std::size_t i = 0; i < jobs.size(); ++i) answers[i] = futures[i].get();
  }

  std::counting_semaphore<> free_;
};

}  // namespace

void add_std_rows(std::vector<technique>& rows) {
  rows.push_back(make_technique<std_threads>("std-thread", "std::thread", family::rival, "a thread for each dispatch"));
  rows.push_back(make_technique<std_async>("std-async", "std::async", family::rival, "a thread for each dispatch"));
}

}  // namespace bench
