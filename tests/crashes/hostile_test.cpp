// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A program that is unkind to its jobs from outside: it stops and drops them from several threads at any moment, makes
// and drops pools, and kills or stops processes, while they work. Always: a job runs at most once, and exactly once if
// it gives a value, which is its own: each appends its line to a file. Each test in a program of its own.
#include <gtest/gtest.h>
#include <errand/process.hpp>
#include <errand/shared_vector.hpp>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "crashes/family.hpp"
#include "crashes/fates.hpp"
#include "faults/own_program.hpp"
#include "process/test_jobs.hpp"
#include "support/in_child.hpp"
#include "support/seed.hpp"

namespace {

using namespace std::chrono_literals;
using errand::async;
using errand::process_place;
using errand::process_pool;
using errand::processes;
using errand_test::expect_well;
using errand_test::fate;
using errand_test::generator;
using errand_test::in_own_program;
using errand_test::judge;
using errand_test::require;

// A line is written whole, and each by a call of its own.
void note(std::string const& file, int job) {
  int const fd = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  auto const line = std::to_string(job) + '\n';
  if (fd < 0 || ::write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::abort();
  ::close(fd);
}
// How often each has run.
std::map<int, int> runs_noted(std::string const& file) {
  std::map<int, int> runs;
  std::ifstream lines{file};
  for (int job = 0; lines >> job;) ++runs[job];
  return runs;
}
void require_each_once(std::string const& file, std::vector<int> const& with_value) {
  auto runs = runs_noted(file);
  for (auto const& [job, times] : runs)
    require(times == 1, "job " + std::to_string(job) + " ran " + std::to_string(times) + " times");
  for (int const job : with_value)
    require(runs[job] == 1, "job " + std::to_string(job) + " has run, as it gave a value");
}

void take_some_time(unsigned steps) {
  for (volatile unsigned left = steps; left > 0;) left = left - 1;
}
int noting(std::string file, int job, unsigned steps) {
  note(file, job);
  take_some_time(steps);
  return job * 3;
}
void require_books_right(process_pool const& pool) {
  auto const s = pool.statistics();
  require(s.jobs == s.ended && s.busy == 0, to_string(s));
  require(s.workers_started == s.workers + s.workers_died + s.workers_killed + s.workers_recycled, to_string(s));
}
void require_goes_on(process_pool& pool) {
  for (int i = 0; i < 20; ++i)
    require(async(
                pool, [](int n) { return n; }, i)
                    .get() == i,
            "a job afterwards");
}

// ---- threads

TEST(hostile_threads, stop_drop_detach_and_end_jobs_at_any_moment) {
  expect_well(in_own_program({}, [](auto const& folder) {
    std::string const file = folder / "runs";
    std::uint64_t const seed = errand_test::test_seed();
    std::mutex lock;
    std::vector<int> with_value;
    {
      process_pool pool{2, {.recycle_after = 50}};
      static_cast<void>(async(pool, [] { return 1; }).get());  // before the first thread
      auto const unkind = [&](int thread) {
        generator random{seed + static_cast<std::uint64_t>(thread)};
        process_place const where = thread == 2 ? process_place{processes} : process_place{pool};
        for (int job = thread * 10'000, last = job + 160; job < last;) {
          std::vector<std::pair<int, errand::future<int>>> all;
          std::stop_source stop;
          for (int i = 0; i < 8; ++i, ++job) {
            unsigned const steps = random.below(20'000);
            if (random.one_in(4))
              all.emplace_back(job, async({.on = where, .timeout = std::chrono::microseconds{random.below(2'000)}},
                                          noting, file, job, steps));
            else if (random.one_in(4))
              all.emplace_back(job, async({.on = where, .stop = stop.get_token()}, noting, file, job, steps));
            else
              all.emplace_back(job, async(where, noting, file, job, steps));
          }
          take_some_time(random.below(40'000));
          for (auto& [number, f] : all) {
            errand_test::dither(random);
            unsigned const what = random.below(6);
            if (what == 0) f.request_stop(), f.request_stop();
            if (what == 1) f = {};
            if (what == 2) f.detach();
            if (what == 3) stop.request_stop();
          }
          for (auto& [number, f] : all) {
            if (!f.valid()) continue;
            try {
              require(f.get() == number * 3, "its own value");
              std::lock_guard const hold{lock};
              with_value.push_back(number);
            } catch (errand::operation_cancelled const&) {
            } catch (errand::timed_out const&) {
            }
          }
        }
      };
      std::atomic<int> unharmed{0};
      std::vector<std::thread> threads;
      for (int t = 0; t < 3; ++t)
        threads.emplace_back([&, t] {
          try {
            unkind(t);
            ++unharmed;
          } catch (std::exception const& e) {
            std::fprintf(stderr, "%s\n", e.what());
          }
        });
      for (auto& t : threads) t.join();
      require(unharmed == 3, "none of the threads has seen anything else");
      while (pool.statistics().jobs != pool.statistics().ended) std::this_thread::yield();  // those that were detached
      while (processes.statistics().jobs != processes.statistics().ended) std::this_thread::yield();
      require_goes_on(pool);
      require_books_right(pool);
      require(pool.statistics().workers_died == 0 && pool.statistics().lost == 0, to_string(pool.statistics()));
    }
    require(!with_value.empty(), "some gave a value");
    require_each_once(file, with_value);
  }));
}

TEST(hostile_threads, make_and_drop_pools_whose_jobs_crash) {
  expect_well(in_own_program({}, [](auto const&) {
    std::uint64_t const seed = errand_test::test_seed();
    static_cast<void>(async(processes, [] { return 1; }).get());
    auto const before = errand::detail::resources_now();
    auto const job = [](int which) {
      errand_test::as_without_sanitizers();
      if (which == 0) std::abort();
      if (which == 1) ::_exit(3);
      if (which == 2) throw std::runtime_error{"2"};
      if (which == 3) take_some_time(100'000);
      return which;
    };
    fate const expected[] = {fate::died, fate::died, fate::thrown, fate::value, fate::value, fate::value};
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        generator random{seed + t};
        for (int round = 0; round < 6; ++round) {
          process_pool pool{1 + random.below(3), {.time = 60s, .recycle_after = random.below(3)}};
          std::vector<std::pair<unsigned, errand::future<int>>> all;
          for (unsigned n = random.below(5); n > 0; --n) {
            unsigned const which = random.below(6);
            all.emplace_back(which, async(pool, job, static_cast<int>(which)));
          }
          errand_test::dither(random);
          unsigned const end = random.below(4);
          if (end == 0) {
            for (auto& [which, f] : all) f.detach();
          } else if (end > 1) {
            for (auto& [which, f] : all) wrong += judge(std::move(f)).how != expected[which] ? 1 : 0;
            wrong +=
                errand::map(pool, std::vector<int>(20, 5), [](int n) { return n; }) == std::vector<int>(20, 5) ? 0 : 1;
          }
        }
      });
    for (auto& t : threads) t.join();
    require(wrong == 0, std::to_string(wrong) + " ends that were not its job's");
    require(errand::detail::resources_now() == before, "descriptors, mappings, children");
  }));
}

// ---- kills and stops

enum class victims : unsigned char { workers, all };

// Harms one of the program's processes again and again: when so many jobs more have ended, and a chance moment later.
template <class Harm>
class tormentor {
 public:
  tormentor(process_pool const& pool, victims who, int times, std::uint64_t jobs_between, std::uint64_t seed, Harm harm)
      : thread_{[this, &pool, who, times, jobs_between, seed, harm] {
          generator random{seed};
          std::uint64_t next = 0;
          for (int i = 0; i < times; ++i) {
            next += 1 + random.below(static_cast<unsigned>(2 * jobs_between));
            while (!over_ && pool.statistics().ended < next) std::this_thread::yield();
            if (over_ && i > 0) return;  // once at least, however late this thread comes
            errand_test::dither(random);
            auto those = errand_test::descendants_of(::getpid());
            if (who == victims::workers) std::erase_if(those, [](pid_t p) { return errand_test::is_zygote(p); });
            if (those.empty()) continue;
            harm(those[random.below(static_cast<unsigned>(those.size()))], random);
            ++done_;
          }
        }} {}
  ~tormentor() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }
  tormentor(tormentor const&) = delete;
  tormentor& operator=(tormentor const&) = delete;
  [[nodiscard]] int ends() {
    over_ = true;
    thread_.join();
    return done_;
  }

 private:
  std::atomic<bool> over_{false};
  std::atomic<int> done_{0};
  std::thread thread_;
};

struct outcome {
  std::vector<int> with_value;
  int lost = 0;
  int never_begun = 0;  // of those: three workers in a row were killed before they could begin one, which fails the queue
};
// Six hundred jobs, fifty at a time.
outcome of_hundreds(process_pool& pool, std::string const& file, generator random) {
  outcome sum;
  for (int first = 0; first < 600; first += 50) {
    std::vector<std::pair<int, errand::future<int>>> all;
    for (int job = first; job < first + 50; ++job) {
      try {
        all.emplace_back(job, async(pool, noting, file, job, random.below(20'000)));
      } catch (errand::process_died const&) {
        ++sum.lost;
      }
    }
    for (auto& [job, f] : all) {
      try {
        require(f.get() == job * 3, "its own value");
        sum.with_value.push_back(job);
      } catch (errand::process_died const& e) {
        ++sum.lost;
        sum.never_begun += std::string{e.what()}.find("die before they can begin") != std::string::npos ? 1 : 0;
      }
    }
  }
  require(sum.with_value.size() + static_cast<std::size_t>(sum.lost) == 600, "each has one end");
  return sum;
}

void kill_it(pid_t process, generator&) { ::kill(process, SIGKILL); }

TEST(hostile_kills, of_workers_cost_no_more_than_a_job_each) {
  expect_well(in_own_program({}, [](auto const& folder) {
    std::string const file = folder / "runs";
    generator random{errand_test::test_seed()};
    process_pool pool{2};
    static_cast<void>(async(pool, [] { return 1; }).get());
    tormentor torment{pool, victims::workers, 30, 15, random(), kill_it};
    auto const sum = of_hundreds(pool, file, random.split());
    int const kills = torment.ends();
    int const begun = sum.lost - sum.never_begun;
    require(kills > 0 && begun <= kills, std::to_string(begun) + " lost of " + std::to_string(kills) + " kills");
    require_each_once(file, sum.with_value);
    require_books_right(pool);
    process_pool fresh{1};
    require_goes_on(fresh);
  }));
}

// Workers, zygote and guardian: the last two together may be the end of all workers. Each job ends all the same.
TEST(hostile_kills, of_anybody_repeat_no_job_and_leave_none_without_an_end) {
  expect_well(in_own_program({}, [](auto const& folder) {
    std::string const file = folder / "runs";
    generator random{errand_test::test_seed()};
    process_pool pool{2};
    static_cast<void>(async(pool, [] { return 1; }).get());
    tormentor torment{pool, victims::all, 20, 20, random(), kill_it};
    auto const sum = of_hundreds(pool, file, random.split());
    require(torment.ends() > 0, "some were killed");
    require_each_once(file, sum.with_value);
    require(pool.statistics().jobs == pool.statistics().ended, to_string(pool.statistics()));
  }));
}

// An idle worker that is stopped is replaced, which counts as a death; no job knows of it.
TEST(hostile_stops, of_anybody_who_goes_on_later_cost_no_job) {
  expect_well(in_own_program({}, [](auto const& folder) {
    std::string const file = folder / "runs";
    generator random{errand_test::test_seed()};
    process_pool pool{2, {.recycle_after = 40}};
    static_cast<void>(async(pool, [] { return 1; }).get());
    tormentor torment{pool, victims::all, 30, 15, random(), [](pid_t process, generator& chance) {
                        ::kill(process, SIGSTOP);
                        errand_test::dither(chance);
                        ::kill(process, SIGCONT);
                      }};
    auto const sum = of_hundreds(pool, file, random.split());
    require(torment.ends() > 0, "some were stopped");
    require(sum.lost == 0, std::to_string(sum.lost) + " lost");
    require_each_once(file, sum.with_value);
    require_goes_on(pool);
    require_books_right(pool);
  }));
}

TEST(hostile_stops, of_whole_groups_and_of_idle_workers_end_with_the_deadline_and_the_pool) {
  expect_well(in_own_program({}, [](auto const&) {
    process_pool pool{2, {.time = 20ms}};
    require(judge(async(pool, [] { return ::kill(0, SIGSTOP); })).how == fate::late, "its group is its own");
    require(judge(async(pool, [] { return ::raise(SIGTSTP) == 0 && ::raise(SIGSTOP) == 0; })).how == fate::late,
            "late");
    require_goes_on(pool);
    for (int round = 0; round < 3; ++round) {
      process_pool dropped{1};
      ::kill(async(dropped, [] { return ::getpid(); }).get(), SIGSTOP);
    }
  }));
}

// ---- large results

constexpr std::size_t page = 4096;

using block = std::vector<char>;
using shared = errand::shared_vector<char>;

// One byte of each page says which it is: the rest is not looked at, so that this stays quick under sanitizers.
template <class Bytes>
Bytes of_size(std::size_t size) {
  if constexpr (std::is_same_v<Bytes, shared>)
    return shared::for_overwrite(size);
  else
    return Bytes(size);
}
template <class Bytes>
Bytes marked(std::size_t size, int mark) {
  auto all = of_size<Bytes>(size);
  for (std::size_t at = 0; at < size; at += page)
    all[at] = static_cast<char>(at / page + static_cast<std::size_t>(mark));
  return all;
}
template <class Bytes>
bool is_marked(Bytes const& all, std::size_t size, int mark) {
  if (all.size() != size) return false;
  for (std::size_t at = 0; at < size; at += page)
    if (all[at] != static_cast<char>(at / page + static_cast<std::size_t>(mark))) return false;
  return true;
}

TEST(hostile_kills, leave_large_results_whole_or_the_job_lost) {
  expect_well(in_own_program({}, [](auto const&) {
    generator random{errand_test::test_seed()};
    process_pool pool{2};
    static_cast<void>(async(pool, [] { return 1; }).get());
    tormentor torment{pool, victims::workers, 8, 2, random(), kill_it};
    std::vector<std::pair<std::size_t, shared>> kept;
    int whole = 0;
    int lost = 0;
    auto const take = [&](auto& f, auto is_whole) {
      try {
        require(is_whole(f.get()), "whole");
        ++whole;
      } catch (errand::process_died const&) {
        ++lost;
      }
    };
    for (int i = 0; i < 3; ++i) {
      std::size_t const size = (4U << 20U) + random.below(12U << 20U);
      auto copied = async(pool, marked<block>, size, i);
      auto in_place = async(pool, marked<shared>, size, i);
      auto both_ways = async(
          pool,
          [](block a, shared b) {
            return std::pair{std::move(a), std::move(b)};
          },
          marked<block>(size / 4, i), marked<shared>(size / 2, i));
      auto unwanted = async(pool, marked<shared>, size, i);
      errand_test::dither(random);
      unwanted.request_stop();
      take(copied, [&](block const& all) { return is_marked(all, size, i); });
      take(in_place, [&](shared all) {
        bool const good = is_marked(all, size, i);
        kept.emplace_back(size, std::move(all));
        return good;
      });
      take(both_ways, [&](std::pair<block, shared> const& all) {
        return is_marked(all.first, size / 4, i) && is_marked(all.second, size / 2, i);
      });
    }
    int const kills = torment.ends();
    require(kills > 0 && whole + lost == 9 && lost <= kills,
            std::to_string(lost) + " lost of " + std::to_string(kills) + " kills");
    for (auto const& [size, all] : kept) require(is_marked(all, size, all[0]), "what was kept has not changed");
    process_pool fresh{1};
    require(is_marked(async(fresh, marked<block>, std::size_t{16U << 20U}, 5).get(), 16U << 20U, 5), "and it goes on");
  }));
}

// ---- shared vectors

using numbers = errand::shared_vector<int>;
numbers of_program;     // kept beyond the pool whose worker made it
numbers of_one_worker;  // kept in a worker beyond its job

TEST(hostile_shared_vectors, outlive_job_pool_and_thread) {
  expect_well(in_own_program({}, [](auto const&) {
    constexpr std::size_t size = 70'000;
    auto const make = [](int n) { return numbers(size, n); };
    auto const add_one = [](numbers all) {
      for (int& each : all) ++each;
      return all;
    };
    auto second = std::make_unique<process_pool>(1);
    {
      process_pool first{1};
      of_program = async(first, make, 5).get();
      static_cast<void>(async(
                            first,
                            [](numbers all) {
                              of_one_worker = std::move(all);
                              return 0;
                            },
                            numbers(size, 8))
                            .get());
      // Each thread's goes through workers of two pools in turn; one after the other has the program's.
      std::mutex lock;
      std::atomic<int> right{0};
      std::vector<std::thread> threads;
      for (int t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
          numbers own(size, t);
          for (int i = 0; i < 10; ++i) {
            own = async(i % 2 == 0 ? process_place{first} : process_place{*second}, add_one, std::move(own)).get();
            numbers other = own;
            other[0] = -1;
            std::lock_guard const hold{lock};
            of_program = async(*second, add_one, std::move(of_program)).get();
          }
          right += own == numbers(size, t + 10) ? 1 : 0;
        });
      for (auto& t : threads) t.join();
      require(right == 4, "each has its own");
      require(async(first, [] { return std::move(of_one_worker); }).get() == numbers(size, 8), "what a worker kept");
      require(async(first, [] { return of_one_worker.size(); }).get() == 0, "it was moved away");
    }
    require(of_program == numbers(size, 45), "beyond the pool that made it");
    of_program = async(*second, add_one, std::move(of_program)).get();
    second.reset();
    for (int i = 0; i < 5; ++i) {
      process_pool later{1};
      require(async(later, make, i).get() == numbers(size, i), "others come and go");
    }
    require(of_program == numbers(size, 46), "beyond all pools");
    of_program.push_back(1);
    of_program = {};
  }));
}

}  // namespace
