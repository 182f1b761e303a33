// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Jobs that are unkind to their worker and to who waits for them: values that throw wherever they are touched,
// exceptions of odd kinds, damage to what a process has, pools in pools, deaths among others. Always: the job has its
// end, its neighbours have their own values, and the pool goes on.
#include <gtest/gtest.h>
#include <errand/group.hpp>
#include <errand/process.hpp>
#include <errand/serialize.hpp>
#include <errand/shared_vector.hpp>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/sanitizers.hpp"
#include "crashes/fates.hpp"
#include "faults/own_program.hpp"
#include "support/in_child.hpp"

namespace {

using namespace std::chrono_literals;
using errand::async;
using errand::process_pool;
using errand::processes;
using errand_test::as_without_sanitizers;
using errand_test::expect_well;
using errand_test::fate;
using errand_test::in_own_program;
using errand_test::judge;
using errand_test::require;

int same(int n) { return n; }
void wait_for_ever() {
  for (;;) ::pause();
}
constexpr fate value = fate::value, thrown = fate::thrown, died = fate::died;

// ---- values

enum class flaw : unsigned char { none, copied, moved, written, written_again, read, reads_too_much, writes_too_much };

// Throws a number, which is no exception's class, at that place.
struct flawed {
  flaw where = flaw::none;
  std::string text;
  flawed() = default;
  flawed(flaw w, std::size_t size) : where{w}, text(size, 'x') {}
  flawed(flawed const& other) : where{other.where}, text{other.text} {
    if (where == flaw::copied) throw 1;
  }
  flawed(flawed&& other)
      : where{other.where}, text{std::move(other.text)} {  // NOLINT(performance-noexcept-move-constructor)
    if (where == flaw::moved) throw 2;
  }
  flawed& operator=(flawed const&) = default;
  ~flawed() = default;
  template <class Archive>
  void save(Archive& archive) const {
    static int writings = 0;
    if (where == flaw::written || (where == flaw::written_again && ++writings % 2 == 0)) throw 3;
    archive(where, text);
    if (where == flaw::writes_too_much) archive(std::string(5000, 'y'));
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(where, text);
    if (where == flaw::read) throw 4;
    std::string missing;
    if (where == flaw::reads_too_much) archive(missing), archive(missing);
  }
};

// As judge(), but what is thrown may be a number, and by async() itself.
template <class Start>
fate end_of(Start start) {
  try {
    return judge(start()).how;
  } catch (errand::process_died const&) {
    return died;
  } catch (std::exception const&) {
    return thrown;
  } catch (int) {
    return thrown;
  }
}

TEST(hostile_values, that_throw_or_lie_wherever_they_are_touched_fail_their_own_job) {
  process_pool pool{2};
  for (flaw const where : {flaw::none, flaw::copied, flaw::moved, flaw::written, flaw::written_again, flaw::read,
                           flaw::reads_too_much, flaw::writes_too_much})
    for (std::size_t const size : {std::size_t{0}, std::size_t{5000}, std::size_t{300'000}}) {
      SCOPED_TRACE(testing::Message{} << "flaw " << static_cast<int>(where) << ", " << size << " bytes");
      fate const argument = end_of([&] {
        flawed const given{where, size};
        return async(
            pool, [](flawed const& v) { return v.text.size(); }, given);
      });
      fate const result = end_of([&] {
        return async(
            pool,
            [](flaw w, std::size_t n) {
              return flawed{w, n};
            },
            where, size);
      });
      if (where == flaw::none) {
        EXPECT_EQ(argument, value);
        EXPECT_EQ(result, value);
      }
      // A value may be written once only, or never be copied or moved: then there is nothing wrong.
      for (fate const end : {argument, result}) EXPECT_TRUE(end == value || end == thrown);
      if (where == flaw::written || where == flaw::read || where == flaw::reads_too_much) {
        EXPECT_EQ(argument, thrown);
        EXPECT_EQ(result, thrown);
      }
      EXPECT_EQ(async(
                    pool, [](std::string s) { return s.size(); }, std::string(size, 'x'))
                    .get(),
                size);
    }
  EXPECT_EQ(pool.statistics().lost, 0U) << to_string(pool.statistics());
}

// ---- exceptions

struct words_that_die : std::exception {
  [[nodiscard]] char const* what() const noexcept override { std::abort(); }
};
struct throws_when_copied : std::runtime_error {
  throws_when_copied() : std::runtime_error{"inner"} {}
  throws_when_copied(throws_when_copied const& other) : std::runtime_error{other} { throw 5; }
};
struct two_bases : std::runtime_error, std::logic_error {
  two_bases() : std::runtime_error{"which of them"}, std::logic_error{"is it"} {}
};
struct dies_at_its_end {
  ~dies_at_its_end() { std::abort(); }
};
struct throws_at_its_end {
  ~throws_at_its_end() noexcept(false) { throw 2; }
};
class own_category : public std::error_category {
  [[nodiscard]] char const* name() const noexcept override { return "own"; }
  [[nodiscard]] std::string message(int) const override { return "own words"; }
};

TEST(hostile_exceptions, of_every_kind_arrive_or_cost_their_own_job) {
  process_pool pool{2};
  struct {
    char const* name;
    void (*act)();
    fate expected;
  } const kinds[] = {
      {"a number", [] { throw 42; }, thrown},
      {"a literal", [] { throw "literal"; }, thrown},
      {"a pointer to a function", [] { throw static_cast<void (*)()>(nullptr); }, thrown},
      {"an object that must be kept", [] { throw std::make_shared<int>(1); }, thrown},
      {"one with two bases", [] { throw two_bases{}; }, thrown},
      {"one of a category of its own",
       [] {
         static own_category const own;
         throw std::system_error{5, own, "x"};
       },
       thrown},
      {"a future's", [] { throw std::future_error{std::future_errc::broken_promise}; }, thrown},
      {"an empty function's", [] { std::function<void()>{}(); }, thrown},
      {"one within another",
       [] {
         try {
           throw 1;
         } catch (...) {
           std::throw_with_nested(std::runtime_error{"outer"});
         }
       },
       thrown},
      {"a mebibyte of words", [] { throw std::runtime_error{std::string(1U << 20U, 'w')}; }, thrown},
      {"what throws when it is copied",
       [] {
         throws_when_copied const e;
         throw e;  // NOLINT(misc-throw-by-value-catch-by-reference)
       },
       thrown},
      {"errand's for a death",
       [] {
         throw errand::process_died{"not mine", 1, 2};
       },
       thrown},
      {"errand's for a limit", [] { throw errand::timed_out{"not late"}; }, thrown},
      {"words that die", [] { as_without_sanitizers(), throw words_that_die{}; }, died},
      {"a death on the way",
       [] {
         as_without_sanitizers();
         dies_at_its_end const d;
         throw 1;
       },
       died},
      {"a throw on the way",
       [] {
         as_without_sanitizers();
         throws_at_its_end const t;
         throw 1;
       },
       died},
      {"nothing to throw again",
       [] {
         as_without_sanitizers();
         throw;
       },
       died},
  };
  for (auto const& kind : kinds) {
    auto const neighbour = async(pool, same, 1).share();
    auto const v = judge(async(pool, kind.act));
    EXPECT_EQ(v.how, kind.expected) << kind.name << ": " << v.text;
    EXPECT_EQ(v.signal, v.how == died ? SIGABRT : 0) << kind.name << ": " << v.text;
    EXPECT_EQ(neighbour.get(), 1) << kind.name;
  }
  EXPECT_EQ(async(pool, same, 2).get(), 2);
}

// ---- damage

std::jmp_buf here;

void write_into_all() {
  for (int fd = 3; fd < 32; ++fd) {
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    [[maybe_unused]] auto const written = ::write(fd, "not for you, not for you, not for you", 37);
  }
}
void read_from_all() {
  char taken[4096];
  for (int fd = 0; fd < 32; ++fd) {
    if (::fcntl(fd, F_SETFL, O_NONBLOCK) < 0) continue;
    [[maybe_unused]] auto const got = ::read(fd, taken, sizeof taken);
  }
}
void limit_to_nothing(decltype(RLIMIT_AS) what) {
  rlimit const none{1, 1};
  ::setrlimit(what, &none);
}

TEST(hostile_jobs, damage_what_their_process_has_and_the_next_job_works) {
  expect_well(in_own_program({}, [](auto const&) {
    struct {
      char const* name;
      void (*act)();
      fate expected;
    } const deeds[] = {
        {"blocks all signals",
         [] {
           sigset_t all;
           ::sigfillset(&all), ::sigprocmask(SIG_BLOCK, &all, nullptr);
         },
         value},
        {"handles all signals",
         [] {
           for (int s = 1; s < 65; ++s) ::signal(s, [](int) {});
         },
         value},
        {"has no other stack for signals",
         [] {
           stack_t none{};
           none.ss_flags = SS_DISABLE;
           ::sigaltstack(&none, nullptr);
         },
         value},
        {"is interrupted all the time",
         [] {
           ::signal(SIGALRM, [](int) {});
           itimerval const often{{0, 100}, {0, 100}};
           ::setitimer(ITIMER_REAL, &often, nullptr);
         },
         value},
        {"is elsewhere, without rights and environment",
         [] {
           ::umask(0777);
           if (::clearenv() != 0 || ::chdir("/proc") != 0) throw std::runtime_error{"refused"};
         },
         value},
        {"has a root without anything",
         [] {
           if (::chroot("/proc/self/fdinfo") != 0) return;
           static_cast<void>(::chdir("/"));
         },
         value},
        {"writes into what is not its own", &write_into_all, value},
        {"reads what is not its own", &read_from_all, value},
        {"cuts what is not its own",
         [] {
           for (int fd = 3; fd < 32; ++fd) static_cast<void>(::ftruncate(fd, 0) == 0);
         },
         value},
        {"prints where there is no room",
         [] {
           int const full = ::open("/dev/full", O_WRONLY);
           ::dup2(full, 1), ::dup2(full, 2);
           std::printf("x"), std::fprintf(stderr, "y");
         },
         value},
        {"may start no process", [] { limit_to_nothing(RLIMIT_NPROC); }, value},
        {"may not be looked at, and has an odd name",
         [] { ::prctl(PR_SET_DUMPABLE, 0), ::prctl(PR_SET_NAME, "a)) (b"); }, value},
        {"comes last",
         [] {
           sched_param const p{};
           ::sched_setscheduler(0, SCHED_IDLE, &p);
         },
         value},
        {"jumps",
         [] {
           if (setjmp(here) == 0) std::longjmp(here, 1);
         },
         value},
        {"waits for all children",
         [] {
           while (::wait(nullptr) > 0) {
           }
         },
         value},
        {"stops the zygote for a while", [] { ::kill(::getppid(), SIGSTOP), ::kill(::getppid(), SIGCONT); }, value},
        {"changes what happens at the end", [] { std::atexit(wait_for_ever); }, value},
        {"changes what happens without memory", [] { std::set_new_handler([] { ::_exit(8); }); }, value},
        {"does not end when it is to",
         [] {
           std::set_terminate(wait_for_ever);
           std::terminate();
         },
         fate::late},
        {"dies at its end",
         [] {
           as_without_sanitizers();
           static dies_at_its_end const d;
           std::exit(0);
         },
         died},
        {"ends quickly", [] { std::quick_exit(4); }, died},
        {"kills its whole group", [] { ::kill(0, SIGTERM), wait_for_ever(); }, died},
    };
    for (auto const& deed : deeds) {
      process_pool pool{1};
      auto const v = judge(async({.on = pool, .timeout = deed.expected == fate::late ? 50ms : 1h}, deed.act));
      require(v.how == deed.expected, std::string{"a job that "} + deed.name + ": " + v.text);
      // The same worker, if it lives: small, large, in place.
      for (int i = 0; i < 2; ++i) {
        require(async(pool, same, i).get() == i, std::string{"a number after one that "} + deed.name);
        std::string const text(300'000, 'x');
        require(async(
                    pool, [](std::string s) { return s + s; }, text)
                        .get() == text + text,
                std::string{"words after one that "} + deed.name);
        require(async(pool, [] { return errand::shared_vector<int>(40'000, 3); }).get() ==
                    errand::shared_vector<int>(40'000, 3),
                std::string{"a vector after one that "} + deed.name);
      }
      process_pool fresh{1};
      require(async(fresh, [] { return 1; }).get() == 1, std::string{"a fresh pool after one that "} + deed.name);
    }
  }));
}

TEST(hostile_jobs, that_leave_no_room_for_memory_stay_the_workers_own_matter) {
  if (errand::detail::sanitized_memory) GTEST_SKIP() << "a sanitizer's shadow is beyond any limit";
  process_pool pool{1};
  EXPECT_EQ(judge(async(pool, [] { limit_to_nothing(RLIMIT_AS); })).how, value);
  EXPECT_EQ(judge(async(pool, [] { return std::string(4U << 20U, 'x'); })).how, thrown) << "the limit stays";
  process_pool fresh{1};
  EXPECT_EQ(async(fresh, [] { return std::string(1U << 20U, 'x'); }).get().size(), 1U << 20U);
  process_pool recycling{1, {.recycle_after = 1}};
  EXPECT_EQ(judge(async(recycling, [] { limit_to_nothing(RLIMIT_AS); })).how, value);
  EXPECT_EQ(async(recycling, [] { return std::string(4U << 20U, 'x'); }).get().size(), 4U << 20U);
}

// ---- pools in pools

int deeper(int levels) {
  if (levels == 0) return 1;
  process_pool pool{2, {.recycle_after = 3}};
  auto below = async(pool, deeper, levels - 1);
  auto from_a_thread = async([&] { return async(pool, deeper, levels - 1).get(); });
  auto dead = async(pool, [] { as_without_sanitizers(), std::abort(); });
  auto dropped = async(pool, wait_for_ever);
  auto const mapped = errand::map(pool, std::vector{1, 2, 3}, same);
  bool const is_dead = judge(std::move(dead)).how == died;
  dropped = {};
  return below.get() + from_a_thread.get() + (is_dead && mapped == std::vector{1, 2, 3} ? 0 : 1000);
}

TEST(hostile_jobs, make_pools_whose_jobs_make_pools_and_die) {
  if (errand::detail::thread_sanitizer) GTEST_SKIP() << "ThreadSanitizer: a worker may not start threads";
  process_pool pool{4};
  auto deep = async(pool, deeper, 2);
  auto late = async({.on = pool, .timeout = 20ms}, [] {
    process_pool own{2};
    async(own, wait_for_ever).get();
  });
  auto leaving = async(pool, [] {
    auto* const leaked = new process_pool{1};
    static auto endless = async(*leaked, wait_for_ever);
    std::_Exit(7);
  });
  auto keeping = async(pool, [] {
    static process_pool own{1};
    return async(own, [] { return 5; }).get();
  });
  EXPECT_EQ(deep.get(), 4);
  EXPECT_EQ(judge(std::move(late)).how, fate::late);
  EXPECT_EQ(judge(std::move(leaving)).status, 7);
  EXPECT_EQ(keeping.get(), 5);
}

// ---- deaths among others

int die_if_one(int n) {
  as_without_sanitizers();
  if (n == 1) std::abort();
  if (n == 2) throw std::domain_error{"two"};
  return n;
}
errand::task<int> add_up(process_pool& pool) {
  int sum = 0;
  for (int n = 5; n < 8; ++n) sum += co_await async(pool, die_if_one, n);
  try {
    sum += co_await async(pool, die_if_one, 1);
  } catch (errand::process_died const&) {
    sum += 100;
  }
  co_return sum;
}

TEST(hostile_jobs, die_among_others_and_each_combination_says_so) {
  process_pool pool{2};
  auto const eight = [&](int odd, int at) {
    std::vector<errand::future<int>> all;
    for (int i = 0; i < 8; ++i) all.push_back(async(pool, die_if_one, i == at ? odd : 7));
    return all;
  };
  for (int round = 0; round < 5; ++round) {
    EXPECT_EQ(judge(errand::when_all(eight(1, round))).how, died);
    EXPECT_THROW((void)errand::when_all(eight(2, round)).get(), std::domain_error);
    std::vector<errand::future<int>> one_good;
    for (int i = 0; i < 6; ++i) one_good.push_back(async(pool, die_if_one, i == round ? 9 : 1));
    EXPECT_EQ(errand::when_any(std::move(one_good)).get().value, 9);
    std::vector<errand::future<int>> none_good;
    for (int i = 0; i < 4; ++i) none_good.push_back(async(pool, die_if_one, 1 + i % 2));
    EXPECT_ANY_THROW((void)errand::when_any(std::move(none_good)).get());

    errand::task_group group;
    for (int i = 0; i < 6; ++i)
      group.spawn([&pool, i, round] { static_cast<void>(async(pool, die_if_one, i == round ? 1 : 7).get()); });
    EXPECT_THROW(group.wait(), errand::process_died);

    EXPECT_THROW((void)errand::map(pool, std::vector{5, 6, 1, 7, 1, 9}, die_if_one), errand::process_died);
    EXPECT_EQ(errand::map(pool, std::vector<int>(1000, 3), die_if_one), std::vector<int>(1000, 3));

    auto const shared_death = async(pool, die_if_one, 1).share();
    for (int i = 0; i < 3; ++i) EXPECT_THROW((void)shared_death.get(), errand::process_died);
    auto chain = async(pool, die_if_one, 6).then([&pool](int n) { return async(pool, die_if_one, n + 1).get(); });
    EXPECT_EQ(chain.then([](int n) { return n * 2; }).get(), 14);
    EXPECT_EQ(judge(async(pool, die_if_one, 1).then([](int n) { return n; })).how, died);
  }
  std::vector<errand::future<int>> sums;
  for (int i = 0; i < 10; ++i) sums.push_back(async(add_up, std::ref(pool)));
  for (auto& sum : sums) EXPECT_EQ(sum.get(), 5 + 6 + 7 + 100);
  EXPECT_EQ(async(pool, die_if_one, 3).get(), 3);
  auto const s = pool.statistics();
  EXPECT_EQ(s.jobs, s.ended) << to_string(s);
}

}  // namespace
