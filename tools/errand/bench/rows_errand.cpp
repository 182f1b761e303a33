// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The five techniques of the post in errand, and the program its author wanted to write. One word,
// the place, makes most of the difference between them. A loop's caller takes part in it, so loops
// are begun inside a task of the pool: then exactly `workers` threads run jobs, as in every row.
#include "bench/technique.hpp"

#include <errand/group.hpp>
#include <errand/io.hpp>
#include <errand/process.hpp>
#include <errand/task.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <string>
#include <vector>

namespace bench {
namespace {

using job_list = std::span<job const>;

// The default pool and the default worker processes take their number from here, at their start.
void set_default_workers(int workers) { setenv("ERRAND_THREADS", std::to_string(workers).c_str(), 1); }

void gather(std::vector<errand::future<answer>>& futures, std::span<answer> answers) {
  std::transform(futures.begin(), futures.end(), answers.begin(), [](auto& f) { return f.get(); });
}

// Serial: map(inplace, …).
class errand_serial : public runner {
 public:
  explicit errand_serial(int /*workers*/) {}

  void run(job_list jobs, std::span<answer> answers) override {
    std::ranges::copy(errand::map(errand::inplace, jobs, run_job), answers.begin());
  }

  void run_fine(job_list jobs, std::span<answer> answers) override {
    auto const lane = [](job const& j) {
      if (j.kind != job_kind::count) return run_job(j);
      return count_by_dispatches(j,
                                 [](std::uint64_t i) { return errand::async(errand::inplace, inner_loop, i).get(); });
    };
    std::ranges::copy(errand::map(errand::inplace, jobs, lane), answers.begin());
  }
};

// Threading: map(threads, …), on a pool of its own.
class errand_threading : public runner {
 public:
  explicit errand_threading(int workers) : pool_(static_cast<unsigned>(workers)) {}

  void run(job_list jobs, std::span<answer> answers) override { map_on_pool(jobs, answers, run_job); }

  void run_fine(job_list jobs, std::span<answer> answers) override {
    map_on_pool(jobs, answers, [this](job const& j) {
      if (j.kind != job_kind::count) return run_job(j);
      return count_by_dispatches(j, [this](std::uint64_t i) { return errand::async(pool_, inner_loop, i).get(); });
    });
  }

 private:
  template <class Body>
  void map_on_pool(job_list jobs, std::span<answer> answers, Body body) {
    auto const all = errand::async(pool_, [&] { return errand::map(pool_, jobs, body); }).get();
    std::ranges::copy(all, answers.begin());
  }

  errand::pool pool_;
};

// Multiprocess: map(processes, …). Fine-grained, a task for each job sends its inner loops there.
class errand_multiprocess : public runner {
 public:
  explicit errand_multiprocess(int workers) { set_default_workers(workers); }

  void run(job_list jobs, std::span<answer> answers) override {
    std::ranges::copy(errand::map(errand::processes, jobs, run_job), answers.begin());
  }

  void run_fine(job_list jobs, std::span<answer> answers) override {
    std::vector<errand::future<answer>> lanes;
    for (job const& j : jobs) {
      lanes.push_back(errand::async([&j] {
        if (j.kind != job_kind::count) return errand::async(errand::processes, run_job, j).get();
        return count_by_dispatches(
            j, [](std::uint64_t i) { return errand::async(errand::processes, inner_loop, i).get(); });
      }));
    }
    gather(lanes, answers);
  }
};

// Coro Thread and Coro Multi: a coroutine for each job, awaiting what it sent to `Where`.
template <auto const& Where>
class errand_coroutines : public runner {
 public:
  explicit errand_coroutines(int workers) { set_default_workers(workers); }

  void run(job_list jobs, std::span<answer> answers) override { run_all(jobs, answers, whole); }
  void run_fine(job_list jobs, std::span<answer> answers) override { run_all(jobs, answers, by_dispatches); }

 private:
  static errand::task<answer> whole(job const& j) { co_return co_await errand::async(Where, run_job, j); }

  static errand::task<answer> by_dispatches(job const& j) {
    if (j.kind != job_kind::count) co_return co_await errand::async(Where, run_job, j);
    double const begin = now();
    answer a;
    for (std::uint64_t i = 0; i < j.n; ++i) {
      std::uint64_t const here = current_place();
      unit const u = co_await errand::async(Where, inner_loop, i);
      a.value += u.steps;
      a.elsewhere += u.place != here ? 1 : 0;
    }
    a.dispatches = j.n;
    a.place = current_place();
    a.seconds = now() - begin;
    co_return a;
  }

  template <class Coroutine>
  static void run_all(job_list jobs, std::span<answer> answers, Coroutine const& coroutine) {
    std::vector<errand::future<answer>> started;
    for (job const& j : jobs) started.push_back(errand::async(coroutine(j)));
    gather(started, answers);
  }
};

// A file of the post as one writes it with errand: line by line, written behind whoever makes the lines.
answer write_behind(job const& j) noexcept {
  double const begin = now();
  answer a;
  try {
    errand::file_writer out(j.path, j.durable ? errand::durability::synced : errand::durability::cached);
    for (std::uint64_t i = 0; i < j.n; ++i) out.write(line_of_the_post);
    out.close();
    a.value = j.n;
  } catch (std::filesystem::filesystem_error const& e) {
    a.error = e.code().value();
  } catch (std::bad_alloc const&) {
    a.error = ENOMEM;
  }
  a.place = current_place();
  a.seconds = now() - begin;
  return a;
}

// What the author wanted: a serial program, running as one task, that kicks its files off and goes
// on calculating; they are real asynchronous files (file_writer). A workload that is nothing but
// calculation it kicks off job by job.
class plain_errand : public runner {
 public:
  explicit plain_errand(int workers) { set_default_workers(workers); }

  void run(job_list jobs, std::span<answer> answers) override {
    errand::async([=] { program(jobs, answers, run_job); }).get();
  }

  void run_fine(job_list jobs, std::span<answer> answers) override {
    auto const calculate = [](job const& j) {
      return count_by_dispatches(j, [](std::uint64_t i) { return errand::async(inner_loop, i).get(); });
    };
    errand::async([=] { program(jobs, answers, calculate); }).get();
  }

 private:
  // Workloads name their calculations first, so all of them are done before the first get().
  template <class Calculate>
  static void program(job_list jobs, std::span<answer> answers, Calculate const& calculate) {
    bool const only_calculates = jobs.back().kind == job_kind::count;
    std::vector<errand::future<answer>> kicked_off(jobs.size());
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      if (jobs[i].kind == job_kind::write) kicked_off[i] = errand::async(write_behind, jobs[i]);
      if (only_calculates) kicked_off[i] = errand::async(calculate, jobs[i]);
    }
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      answers[i] = kicked_off[i].valid() ? kicked_off[i].get() : calculate(jobs[i]);
    }
  }
};

}  // namespace

void add_errand_rows(std::vector<technique>& rows) {
  rows.push_back(make_technique<errand_serial>("serial", "Serial", family::errand, "async(inplace, …).get()"));
  rows.push_back(make_technique<errand_threading>("threading", "Threading", family::errand,
                                                  "async(pool, …).get() inside map(pool, …)"));
  rows.push_back(
      make_technique<errand_multiprocess>("multiprocess", "Multiprocess", family::errand, "async(processes, …).get()"));
  rows.push_back(make_technique<errand_coroutines<errand::threads>>("coro-thread", "Coro Thread", family::errand,
                                                                    "co_await async(threads, …)"));
  rows.push_back(make_technique<errand_coroutines<errand::processes>>("coro-multi", "Coro Multi", family::errand,
                                                                      "co_await async(processes, …)"));
  rows.push_back(make_technique<plain_errand>("plain", "what he wanted", family::errand,
                                              "async(…).get() in plain serial code; file_writer"));
}

}  // namespace bench
