// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The process that forks the workers is killed, or its guardian, or both: exactly the jobs that had begun on its workers are
// lost, all others run once, and nothing is left over at the end. Each in a program of its own.
#include <gtest/gtest.h>
#include <errand/process.hpp>

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/sanitizers.hpp"
#include "crashes/family.hpp"
#include "crashes/fates.hpp"
#include "faults/own_program.hpp"
#include "process/test_jobs.hpp"
#include "support/in_child.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::expect_well;
using errand_test::in_own_program;
using errand_test::is_zygote;
using errand_test::kill_now;
using errand_test::parent_of;
using errand_test::require;
using errand_test::wait_until_gone;

// Made before main, so before the zygote.
struct shared_page {
  std::array<std::atomic<int>, 4096> runs;
  std::atomic<int> begun;
  std::atomic<int> pid;
};
shared_page& shared = *static_cast<shared_page*>(
    ::mmap(nullptr, sizeof(shared_page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

int innocent(int i) {
  shared.runs[static_cast<std::size_t>(i)].fetch_add(1);
  return i * 3 + 1;
}
void for_ever() {
  shared.begun.fetch_add(1);
  for (;;) ::pause();
}
void wait_until_begun(int jobs) {
  while (shared.begun.load() < jobs) std::this_thread::yield();
}
struct family {
  pid_t guardian;
  pid_t zygote;  // that serves
};

pid_t heir_of(pid_t guardian) {
  auto const id = std::to_string(guardian);
  std::ifstream children{"/proc/" + id + "/task/" + id + "/children"};
  for (pid_t child = 0; children >> child;)
    if (is_zygote(child)) return child;
  return 0;
}
pid_t zygote_of(errand::process_pool& pool) {
  return errand::async(pool, [] { return ::getppid(); }).get();
}
// Once it is whole: whom the pool's worker has as its parent may have become the guardian by now, or may be about to.
family family_of(errand::process_pool& pool) {
  pid_t const zygote = zygote_of(pool);
  for (;;) {
    if (pid_t const heir = heir_of(zygote); heir != 0) return {zygote, heir};
    if (pid_t const above = parent_of(zygote); is_zygote(above)) return {above, zygote};
    std::this_thread::yield();
  }
}

// What the zygote's death does to a job: a value, or that error.
template <class T>
bool lost_with_zygote(errand::future<T>& f, T const& expected) {
  try {
    require(f.get() == expected, "its own result");
    return false;
  } catch (errand::process_died const& e) {
    require(e.signal() == SIGKILL, "the signal");
    require(std::string{e.what()}.find("zygote") != std::string::npos, e.what());
    return true;
  }
}

TEST(zygotes_death, costs_exactly_the_jobs_that_had_begun) {
  expect_well(in_own_program({}, [](auto const&) {
    errand::process_pool a{2};
    errand::process_pool b{1, {.time = 60s, .recycle_after = 5}};
    pid_t const zygote = zygote_of(a);
    static_cast<void>(zygote_of(b));
    std::vector<errand::future<void>> begun;
    begun.push_back(errand::async(a, for_ever));
    begun.push_back(errand::async({.on = a, .timeout = 1h}, for_ever));
    begun.push_back(errand::async(b, for_ever));
    wait_until_begun(3);
    auto const before = errand::detail::resources_now();
    std::vector<errand::future<int>> queued;
    for (int i = 0; i < 40; ++i) queued.push_back(errand::async(i % 2 == 0 ? a : b, innocent, i));
    ::kill(zygote, SIGKILL);
    int lost = 0;
    for (auto& job : begun) {
      try {
        job.get();
      } catch (errand::process_died const& e) {
        lost += std::string{e.what()}.find("zygote") != std::string::npos && e.signal() == SIGKILL ? 1 : 0;
      }
    }
    require(lost == 3, "each that had begun says why: " + std::to_string(lost));
    for (int i = 0; i < 40; ++i) {
      require(queued[static_cast<std::size_t>(i)].get() == i * 3 + 1, "one that was queued");
      require(shared.runs[static_cast<std::size_t>(i)].load() == 1, "it ran once");
    }
    require(zygote_of(a) != zygote && zygote_of(b) == zygote_of(a), "another zygote");
    require(a.statistics().lost == 2 && b.statistics().lost == 1, to_string(a.statistics()));
    require(errand::detail::resources_now() == before, "descriptors, mappings, children");
  }));
}

TEST(zygotes_death, at_any_moment_of_short_jobs_loses_no_more_than_one_for_each_worker_and_repeats_none) {
  expect_well(in_own_program({}, [](auto const&) {
    constexpr int workers = 2;
    constexpr int rounds = 20;
    errand::process_pool pool{workers, {.recycle_after = 30}};
    int first = 0;
    int lost = 0;
    for (int round = 0; round < rounds; ++round) {
      pid_t const zygote = zygote_of(pool);
      std::vector<errand::future<int>> all;
      for (int i = first; i < first + 200; ++i) {
        if (i == first + round * 10) ::kill(zygote, SIGKILL);
        all.push_back(errand::async(pool, innocent, i));
      }
      for (int i = first; i < first + 200; ++i) {
        bool const was_lost = lost_with_zygote(all[static_cast<std::size_t>(i - first)], i * 3 + 1);
        int const runs = shared.runs[static_cast<std::size_t>(i)].load();
        require(runs == 1 || (was_lost && runs == 0), "it ran once, or had just been begun: " + std::to_string(runs));
        lost += was_lost ? 1 : 0;
      }
      first += 200;
    }
    require(lost <= workers * rounds, "no other is lost: " + std::to_string(lost));
    auto const s = pool.statistics();
    require(s.jobs == s.ended && s.lost == static_cast<std::uint64_t>(lost), to_string(s));
    require(s.workers_started == s.workers + s.workers_died + s.workers_killed + s.workers_recycled, to_string(s));
  }));
}

// Every job has a worker of its own: orders to fork are under way at any moment, and are done once.
TEST(zygotes_death, at_any_moment_of_a_fork_loses_no_order_and_does_none_twice) {
  expect_well(in_own_program({}, [](auto const&) {
    constexpr int jobs = 2000;
    constexpr int kills = 40;
    errand::process_pool pool{2, {.recycle_after = 1}};
    pid_t const guardian = family_of(pool).guardian;
    std::atomic<int> ended{0};
    std::thread killer{[&] {
      std::uint32_t random = 20;
      int next = 0;
      for (int k = 0; k < kills; ++k) {
        random = random * 1664525U + 1013904223U;
        next += static_cast<int>((random >> 16U) % (2 * jobs / kills - 10));
        while (ended.load() < std::min(next, jobs)) std::this_thread::yield();
        if (pid_t const zygote = heir_of(guardian); zygote != 0) ::kill(zygote, SIGKILL);
      }
    }};
    std::vector<errand::future<int>> all;
    for (int i = 0; i < jobs; ++i) all.push_back(errand::async(pool, innocent, i));
    int lost = 0;
    bool right = true;
    for (int i = 0; i < jobs; ++i) {
      bool const was_lost = lost_with_zygote(all[static_cast<std::size_t>(i)], i * 3 + 1);
      int const runs = shared.runs[static_cast<std::size_t>(i)].load();
      right = right && (runs == 1 || (was_lost && runs == 0));
      lost += was_lost ? 1 : 0;
      ended.store(i + 1);
    }
    killer.join();
    require(right, "each ran once, or had just been begun");
    require(lost <= 2 * kills, "no other is lost: " + std::to_string(lost));
    auto const s = pool.statistics();
    require(s.jobs == s.ended && s.lost == static_cast<std::uint64_t>(lost), to_string(s));
  }));
}

TEST(zygotes_death, takes_a_worker_along_that_has_cut_the_tie_and_what_it_has_started) {
  expect_well(in_own_program({}, [](auto const&) {
    errand::process_pool pool{1};
    pid_t const zygote = zygote_of(pool);
    auto cut = errand::async(pool, [] {
      ::prctl(PR_SET_PDEATHSIG, 0);
      pid_t const child = ::fork();
      if (child == 0) for_ever();
      shared.pid.store(child);
      for_ever();
      return 0;
    });
    wait_until_begun(2);
    ::kill(zygote, SIGKILL);
    require(lost_with_zygote(cut, 0), "it is lost");
    wait_until_gone(shared.pid.load());
    require(errand::async(pool, innocent, 1).get() == 4, "the pool goes on");
  }));
}

TEST(guardians_death, costs_no_job_and_is_mended) {
  expect_well(in_own_program({}, [](auto const&) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // so that we see whether anything is left
    {
      for (int round = 0; round < 5; ++round) {
        errand::process_pool pool{2};  // of which whoever serves now forks the workers
        int const first = round * 100;
        auto const [guardian, zygote] = family_of(pool);
        shared.begun.store(0);
        auto running = errand::async(pool, for_ever);
        wait_until_begun(1);
        std::vector<errand::future<int>> all;
        for (int i = first; i < first + 50; ++i) all.push_back(errand::async(pool, innocent, i));
        kill_now(guardian);
        for (int i = first + 50; i < first + 100; ++i) all.push_back(errand::async(pool, innocent, i));
        for (int i = first; i < first + 100; ++i) {
          require(all[static_cast<std::size_t>(i - first)].get() == i * 3 + 1, "a value");
          require(shared.runs[static_cast<std::size_t>(i)].load() == 1, "it ran once");
        }
        require(!running.ready(), "one that runs goes on");
        // A worker of the zygote that has become the guardian is killed and reported as ever; a new one is the heir's.
        running.request_stop();
        require(running.result().stopped(), "it is stopped");
        while (heir_of(zygote) == 0) std::this_thread::yield();
        // The old zygote's workers may serve on. Fresh ones come from its heir.
        bool died = false;
        try {
          errand::async(pool, [] { ::_exit(3); }).get();
        } catch (errand::process_died const& e) {
          died = e.status() == 3;
        }
        require(died, "a death is reported");
        // And now that one: it guards, but had workers.
        shared.begun.store(0);
        std::vector<errand::future<void>> begun;
        begun.push_back(errand::async(pool, for_ever));
        begun.push_back(errand::async(pool, for_ever));
        wait_until_begun(2);
        kill_now(zygote);
        for (auto& job : begun) job.request_stop();
        for (auto& job : begun) {
          auto const how = job.result();
          require(!how.has_value(), "stopped, or lost with it");
        }
        require(errand::async(pool, innocent, 4000).get() == 12001, "the pool goes on");
      }
    }
    errand::detail::shut_down_processes();
    while (::waitpid(-1, nullptr, 0) > 0) {  // waits for as long as any lives
    }
  }));
}

TEST(zygotes_death, then_the_guardians_then_again_and_again) {
  expect_well(in_own_program({}, [](auto const&) {
    errand::process_pool pool{2};
    int job = 0;
    for (int round = 0; round < 20; ++round) {
      family const f = family_of(pool);
      kill_now(round % 2 == 0 ? f.zygote : f.guardian);
      std::vector<errand::future<int>> all;
      int const first = job;
      for (; job < first + 20; ++job) all.push_back(errand::async(pool, innocent, job));
      for (int i = first; i < job; ++i) static_cast<void>(lost_with_zygote(all[static_cast<std::size_t>(i - first)], i * 3 + 1));
    }
    auto const s = pool.statistics();
    require(s.jobs == s.ended, to_string(s));
    for (int i = 0; i < job; ++i) require(shared.runs[static_cast<std::size_t>(i)].load() <= 1, "none ran twice");
  }));
}

TEST(zygotes_death, together_with_its_guardians_fails_all_jobs_of_all_pools_and_their_ends_do_not_wait) {
  expect_well(in_own_program({}, [](auto const&) {
    errand::process_pool a{2};
    errand::process_pool b{2, {.time = 60s, .recycle_after = 2}};
    auto const [guardian, zygote] = family_of(a);
    std::vector<errand::future<void>> jobs;
    for (int i = 0; i < 10; ++i) {
      jobs.push_back(errand::async(a, for_ever));
      jobs.push_back(errand::async({.on = b, .timeout = 60s}, for_ever));
    }
    // So that it cannot find out that it is alone before it is gone, too.
    ::kill(zygote, SIGSTOP);
    ::kill(guardian, SIGKILL);
    ::kill(zygote, SIGKILL);
    int failed = 0;
    for (auto& job : jobs) {
      try {
        job.get();
      } catch (errand::process_died const& e) {
        failed += std::string{e.what()}.find("zygote") != std::string::npos ? 1 : 0;
      }
    }
    require(failed == 20, "each says why: " + std::to_string(failed));
    bool refused = false;
    try {
      errand::async(b, innocent, 1).get();
    } catch (errand::process_died const&) {
      refused = true;
    }
    require(refused, "later ones too");
  }));
}

TEST(zygotes_death, and_the_programs_after_it_leave_no_process) {
  for (bool const guardian_too : {false, true}) {
    expect_well(in_own_program({}, [&](auto const&) {
      ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // what is left over would be ours, and the wait below would not end
      int const status = errand_test::in_child([&] {
        errand::process_pool pool{2};
        kill_now(family_of(pool).zygote);
        if (guardian_too) {
          for (bool killed = false; !killed;) {
            try {
              kill_now(family_of(pool).guardian);
              killed = true;
            } catch (errand::process_died const&) {  // the last job of the dead zygote's worker
            }
          }
        }
        auto running = errand::async(errand::processes, [] {
          ::prctl(PR_SET_PDEATHSIG, 0);
          for_ever();
        });
        wait_until_begun(1);
        ::kill(::getpid(), SIGKILL);
      });
      require(status == -SIGKILL, "it was killed");
      while (::waitpid(-1, nullptr, 0) > 0) {
      }
    }));
  }
}

}  // namespace
