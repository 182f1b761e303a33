// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Exceptions where nobody wants them: from the k-th copy or move of callables, arguments and results, for every k and on
// every way to start, link and gather tasks; in handlers and unwinding destructors that park; from objects that start and
// await tasks themselves while they are copied and destroyed; and all the ways in which an error can get lost.
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "stress/hostile.hpp"

namespace {

using namespace errand_test;

struct boom {};

/// The copy or move that finds the fuse at zero throws; below zero none does.
struct fused {
  inline static std::atomic<int> fuse{-1};

  explicit fused(int v) : value{v} {}
  fused(fused const& other) : value{(burn(), other.value)} {}
  fused(fused&& other) : value{(burn(), other.value)} {}  // NOLINT: throwing is its purpose
  fused& operator=(fused const&) = delete;

  int value;
  counted alive;

 private:
  static void burn() {
    for (int left = fuse; left >= 0;)
      if (fuse.compare_exchange_weak(left, left - 1)) {
        if (left == 0) throw boom{};
        return;
      }
  }
};

class hostile_moves : public hostile {
 protected:
  /// Runs it with the fuse at 0, 1, … until one run ends with the fuse not burnt down: every copy and move has thrown once.
  /// Whatever throws, nothing but boom comes out, and nothing is left.
  template <class Attempt>
  void burn_everywhere(Attempt attempt) {
    for (int k = 0; k < 200; ++k) {
      fused::fuse = k;
      EXPECT_NO_THROW(try { attempt(); } catch (boom const&){}) << "at copy or move " << k;
      bool const all_done = fused::fuse >= 0;
      fused::fuse = -1;
      until_all_are_gone();
      if (all_done) {
        reports_allowed = reported;  // of tasks whose starter threw as well
        return;
      }
    }
    ADD_FAILURE() << "more than 200 copies and moves";
  }

  errand::pool pool_{2};
};

errand::task<fused> identity(fused given) {
  co_await errand::sleep_for(0s);
  co_return given;
}

errand::task<fused> through_two_frames(fused given) {
  auto inner = identity(given);
  fused result = co_await std::move(inner);
  co_return result;
}

errand::task<fused> through_a_future(fused given) {
  auto f = errand::async([](fused const& x) { return x; }, given);
  fused result = co_await f;
  co_return result;
}

TEST_F(hostile_moves, of_functions_throw_at_every_place) {
  for (auto where : every_place(pool_)) {
    burn_everywhere([&] {
      fused const captured{3};
      auto f = errand::async(
          where, [captured](fused const& x) { return fused{x.value + captured.value}; }, fused{4});
      EXPECT_EQ(f.get().value, 7);
    });
    burn_everywhere([&] {
      fused const captured{3};
      auto f = errand::async(
          {.on = where, .name = "fused"}, [captured](fused x) { return fused{x.value + captured.value}; }, fused{4});
      EXPECT_EQ(f.result().value().value, 7);
    });
  }
}

TEST_F(hostile_moves, of_coroutines_throw_at_every_place) {
  for (auto where : every_place(pool_))
    burn_everywhere([&] { EXPECT_EQ(errand::async(where, through_a_future, fused{4}).get().value, 4); });
  burn_everywhere([] { EXPECT_EQ(through_a_future(fused{4}).get().value, 4); });
  burn_everywhere([] { EXPECT_EQ(through_two_frames(fused{4}).get().value, 4); });
}

TEST_F(hostile_moves, in_groups_and_loops_throw_at_every_place) {
  for (auto where : every_place(pool_)) {
    burn_everywhere([&] {
      errand::task_group g{where};
      fused const captured{1};
      g.spawn([captured](fused const& x) { fused const copy{x}; }, captured);
      g.spawn([captured] { fused const copy{captured}; });
      g.wait();
    });
    burn_everywhere([&] {
      auto v = errand::map(where, std::vector<int>{1, 2, 3, 4}, [](int x) {
        fused const a{x};
        fused b{a};
        return b;
      });
      EXPECT_EQ(v.at(3).value, 4);
    });
  }
  burn_everywhere([] {
    std::vector<fused> inputs;
    inputs.reserve(3);
    for (int i = 0; i < 3; ++i) inputs.emplace_back(i);
    std::atomic<int> sum{0};
    errand::for_each(inputs, [&](fused x) { sum += x.value; });  // NOLINT: the copy is its purpose
    EXPECT_EQ(sum, 3);
  });
}

TEST_F(hostile_moves, in_chains_throw_and_the_first_task_stays_with_its_holder_or_goes) {
  auto one = [] { return fused{1}; };
  burn_everywhere([&] {
    fused const captured{1};
    auto f = errand::async(one)
                 .then([captured](fused const& x) { return fused{x.value + captured.value}; })
                 .then(pool_, [captured](fused const& x) { return fused{x}; });
    EXPECT_EQ(f.get().value, 2);
  });
  burn_everywhere([&] {
    fused const captured{1};
    auto f = errand::async(one);
    auto link = [captured](fused const& x) { return fused{x}; };
    try {
      auto linked = f.then(link);
      EXPECT_FALSE(f.valid());
      EXPECT_EQ(linked.get().value, 1);
    } catch (boom const&) {
      if (f.valid()) f.wait();
      throw;
    }
  });
  burn_everywhere([&] {
    auto s = errand::async(one).share();
    auto linked = s.then([](fused const& x) { return fused{x}; });
    auto copy = s;
    EXPECT_EQ(copy.get().value, 1);
    EXPECT_EQ(linked.get().value, 1);
  });
}

TEST_F(hostile_moves, in_composites_throw) {
  auto one = [] {
    fused const x{1};
    return fused{x};
  };
  burn_everywhere([&] {
    auto [a, b] = errand::when_all(errand::async(one), errand::async(one)).get();
    EXPECT_EQ(a.value + b.value, 2);
  });
  burn_everywhere([&] {
    std::vector<errand::future<fused>> all;
    for (int i = 0; i < 5; ++i) all.push_back(errand::async(one));
    EXPECT_EQ(errand::when_all(std::move(all)).get().size(), 5u);
  });
  burn_everywhere([&] { EXPECT_EQ(errand::when_any(errand::async(one), errand::async(one)).get().value.value, 1); });
  burn_everywhere([&] {
    auto fail = []() -> int { throw boom{}; };
    EXPECT_EQ(errand::when_any(errand::async(fail), errand::async(one)).get().index, 1u);
  });
}

/// Copies and moves start a task and wait for it; destructors do more.
struct industrious {
  explicit industrious(int v) : value{v} {}
  industrious(industrious const& other) : value{other.value} { work(); }
  industrious(industrious&& other) noexcept : value{other.value}, alive{std::move(other.alive)} { work(); }
  industrious& operator=(industrious const&) = delete;
  ~industrious() {
    work();
    try {
      EXPECT_EQ(errand::async(errand::blocking, [] { return 4; }).get(), 4);
    } catch (errand::operation_cancelled const&) {  // in a stopped task waits throw
    }
    auto dropped = errand::async(sleep_long);
  }

  int value;
  counted alive;

 private:
  static void work() noexcept {
    try {
      auto f = errand::async([] { return this_task::yield(), 3; });
      EXPECT_EQ(f.get(), 3);
    } catch (errand::operation_cancelled const&) {
    }
  }
};

class hostile_payloads : public hostile {
 protected:
  errand::pool one_{1};
};

TEST_F(hostile_payloads, that_start_and_await_tasks_pass_through_functions_and_coroutines) {
  auto sum = [captured = industrious{1}](industrious const& x) { return industrious{x.value + captured.value}; };
  auto later = [](industrious x) -> errand::task<industrious> {
    industrious local{x.value};
    co_await errand::sleep_for(1us);
    co_return local;
  };
  for (int round = 0; round < scaled(4); ++round)
    for (auto where : every_place(one_)) {
      EXPECT_EQ(errand::async(where, sum, industrious{2}).get().value, 3);
      errand::async(where, sum, industrious{2}).wait();  // and dropped when it has ended
      { auto dropped = errand::async(where, sum, industrious{2}); }
      errand::async(where, sum, industrious{2}).detach();
      EXPECT_EQ(errand::async(where, later, industrious{6}).get().value, 6);
      auto stopped = errand::async(where, later, industrious{6});
      stopped.request_stop();
      auto timed_out = errand::async({.on = where, .timeout = 0s}, sum, industrious{2}).result();
      EXPECT_EQ((timed_out ? 1 : 0) + (timed_out.error() != nullptr ? 1 : 0), 1);
      try {
        errand::async(where, [] { throw industrious{5}; }).get();
        ADD_FAILURE();
      } catch (industrious const& x) {
        EXPECT_EQ(x.value, 5);
      }
    }
}

TEST_F(hostile_payloads, that_start_and_await_tasks_pass_through_groups_loops_and_links) {
  auto four = [] { return industrious{4}; };
  for (int round = 0; round < scaled(4); ++round)
    for (auto where : every_place(one_)) {
      for (bool const waits : {true, false}) {
        errand::task_group g{where};
        for (int i = 0; i < 3; ++i) g.spawn([captured = industrious{1}](industrious const&) {}, industrious{2});
        if (waits) g.wait();
      }
      EXPECT_EQ(errand::map(where, std::vector<int>{1, 2, 3}, [](int x) { return industrious{x}; }).at(2).value, 3);
      auto failing = [](int x) { return x == 3 ? throw industrious{9} : industrious{x}; };
      EXPECT_THROW((void)errand::map(where, std::vector<int>{1, 2, 3, 4}, failing), industrious);
      auto f =
          errand::async(where, four)
              .then([captured = industrious{1}](industrious const& x) { return industrious{x.value + captured.value}; })
              .then(one_, [](industrious x) { return x; });
      EXPECT_EQ(f.get().value, 5);
      auto s = errand::async(where, four).share();
      auto linked = s.then([](industrious const& x) { return industrious{x.value}; });
      EXPECT_EQ(errand::async([s] { return s.get().value; }).get(), 4);
      s = {};
      EXPECT_EQ(linked.get().value, 4);
    }
}

TEST_F(hostile_payloads, that_start_and_await_tasks_die_in_composites_that_nobody_takes_from) {
  auto make = [] { return std::make_unique<industrious>(1); };
  auto fail = []() -> int { throw industrious{1}; };
  for (int round = 0; round < scaled(6); ++round)
    for (auto where : every_place(one_)) {
      errand::when_all(errand::async(where, make), errand::async(make)).wait();
      errand::when_any(errand::async(where, make), errand::async(make)).wait();
      EXPECT_THROW((void)errand::when_any(errand::async(where, fail), errand::async(fail)).get(), industrious);
      auto keeper = [kept = make()](int x) { return x; };
      EXPECT_EQ(errand::async(where, std::move(keeper), 7).get(), 7);
    }
}

struct number {
  int value;
};

/// One of the ways to park, or to let others run.
void park(int way) {
  switch (way % 6) {
    case 0:
      return this_task::yield();
    case 1:
      return this_task::sleep_for(1us);
    case 2:
      return errand::async([] { this_task::yield(); }).get();
    case 3:
      return errand::async(errand::blocking, [] {}).get();
    case 4: {
      auto dropped = errand::async(sleep_long);
      return this_task::yield();
    }
    case 5:
      return errand::for_each_index(3, [](std::size_t) { this_task::yield(); });
  }
}

/// Its destructor, run by an exception on its way, parks with that one in flight, throws others and takes them.
struct parks_unwinding {
  int way;
  ~parks_unwinding() {
    EXPECT_EQ(std::uncaught_exceptions(), 1);
    try {
      park(way);
      throw number{-way};
    } catch (number const& x) {
      EXPECT_EQ(x.value, -way);
      park(way + 1);
      EXPECT_EQ(x.value, -way);
    }
    EXPECT_EQ(std::uncaught_exceptions(), 1);
  }
};

int parks_in_handlers(int i) {
  EXPECT_EQ(std::uncaught_exceptions(), 0);
  EXPECT_EQ(std::current_exception(), nullptr);
  try {
    try {
      parks_unwinding const first{i};
      park(i);
      throw number{i};
    } catch (number const& outer) {
      park(i + 1);
      auto const kept = std::current_exception();
      try {
        parks_unwinding const second{i + 2};
        throw number{i + 1'000'000};
      } catch (number const& inner) {
        park(i + 3);
        EXPECT_EQ(inner.value, i + 1'000'000);
        EXPECT_EQ(outer.value, i);
      }
      EXPECT_EQ(std::current_exception(), kept);
      park(i + 4);
      throw;
    }
  } catch (number const& caught) {
    park(i + 5);
    try {
      throw;
    } catch (number const& again) {
      park(i);
      EXPECT_EQ(&again, &caught);
    }
    return caught.value;
  }
}

errand::task<int> coroutine_parks_in_handlers(int i) {
  int value = 0;
  try {
    parks_unwinding const unwound{i};
    auto f = errand::async(parks_in_handlers, i);
    value = co_await f;
    throw number{value};
  } catch (number const& x) {
    park(i);
    value = x.value;
    EXPECT_EQ(std::uncaught_exceptions(), 0);
  }
  co_await errand::sleep_for(1us);
  EXPECT_EQ(std::current_exception(), nullptr);
  co_return value;
}

using hostile_handlers = hostile;

TEST_F(hostile_handlers, that_park_keep_their_exceptions_whoever_goes_on_with_them) {
  for (unsigned const workers : {1U, 3U}) {
    errand::pool p{workers};
    std::vector<errand::future<int>> all;
    for (int i = 0; i < scaled(300); ++i)
      all.push_back(i % 3 == 0 ? errand::async(p, coroutine_parks_in_handlers, i)
                               : errand::async(p, parks_in_handlers, i));
    try {
      throw number{4};
    } catch (number const& mine) {
      for (int i = 0; auto& f : all) EXPECT_EQ(f.get(), i++);
      errand::for_each_index(p, 20, [](std::size_t i) {
        try {
          throw number{static_cast<int>(i)};
        } catch (number const& x) {
          this_task::yield();
          EXPECT_EQ(x.value, static_cast<int>(i));
        }
      });
      EXPECT_EQ(mine.value, 4);
      EXPECT_THROW(throw, number);
    }
  }
}

/// Every error was thrown, and is then taken or reported.
class hostile_errors : public hostile {
 protected:
  struct error : std::runtime_error {
    error() : std::runtime_error{"one of many"} { ++thrown; }
  };
  static int fail() { throw error{}; }

  hostile_errors() { thrown = taken = 0; }
  ~hostile_errors() override { reports_allowed = reported; }

  template <class F>
  void take(F f) {
    EXPECT_THROW(f(), error);
    ++taken;
  }
  /// A report may come a moment after the end of a task that nobody waits for.
  static void settle() {
    until([] { return thrown <= taken + reported; });
    EXPECT_EQ(thrown, taken + reported);
  }

  inline static std::atomic<int> thrown{0}, taken{0};
  errand::pool one_{1};
};

TEST_F(hostile_errors, of_single_tasks_are_taken_or_reported_once) {
  for (int round = 0; round < scaled(60); ++round)
    for (errand::place const where :
         {errand::place{errand::threads}, errand::place{one_}, errand::place{errand::blocking}}) {
      take([&] { errand::async(where, fail).get(); });
      errand::async(where, fail).wait();
      settle();
      { auto dropped = errand::async(where, fail); }
      settle();
      int const before = thrown;
      errand::async(where, fail).detach();
      until([&] { return thrown > before; });
      settle();
      if (errand::async(where, fail).result().error() != nullptr) ++taken;
      settle();
      take(
          [&] { errand::async(where, [] { return errand::async(fail).get(); }).get(); });  // through two, and one error
      auto f = errand::async(where, fail);
      std::thread{[moved = std::move(f)] {}}.join();
      settle();
      auto overwritten = errand::async(where, fail);
      overwritten = errand::async(where, [] { return 1; });
      EXPECT_EQ(overwritten.get(), 1);
      settle();
      errand::async(where, [] {
        auto inner = errand::async(fail);
        throw error{};
      }).wait();  // two errors at once
      settle();
    }
}

TEST_F(hostile_errors, of_chains_and_coroutines_are_taken_or_reported_once) {
  for (int round = 0; round < scaled(60); ++round)
    for (errand::place const where :
         {errand::place{errand::threads}, errand::place{one_}, errand::place{errand::blocking}}) {
      auto chain = [&] { return errand::async(where, fail).then([](int) { return 1; }).then(one_, [](int) {}); };
      take([&] { chain().get(); });
      chain().wait();
      settle();
      { auto dropped = chain(); }
      settle();
      errand::async(where, fail).share().wait();
      settle();
      auto awaits = []() -> errand::task<int> {
        auto f = errand::async(fail);
        co_return co_await f;
      };
      take([&] { errand::async(where, awaits).get(); });
      errand::async(where, awaits).wait();
      settle();
      errand::async(where, []() -> errand::task<int> {
        auto looked_at_only = errand::async(fail);
        looked_at_only.wait();
        co_await errand::sleep_for(1us);
        co_return 1;
      }).wait();
      settle();
    }
}

TEST_F(hostile_errors, of_many_tasks_are_taken_or_reported_once) {
  for (int round = 0; round < scaled(60); ++round)
    for (errand::place const where :
         {errand::place{errand::threads}, errand::place{one_}, errand::place{errand::blocking}}) {
      {
        errand::task_group g{where};
        g.spawn(fail);
        g.spawn(fail);
        take([&] { g.wait(); });
        taken += static_cast<int>(g.errors().size()) - 1;
      }
      settle();
      {
        errand::task_group unwaited{where};
        for (int i = 0; i < 5; ++i) unwaited.spawn(fail);
      }
      settle();
      auto three = [&] {
        return errand::when_all(errand::async(where, fail), errand::async(fail), errand::async(fail));
      };
      auto o = three().result();
      EXPECT_NE(o.error(), nullptr);
      ++taken;
      for (auto const& e : o.further_errors()) taken += e != nullptr ? 1 : 0;
      settle();
      take([&] { (void)three().get(); });
      settle();
      { auto dropped = three(); }
      settle();
      take([&] { three().then([](auto const&) {}).get(); });
      settle();
      take([&] { errand::for_each_index(where, 20, [](std::size_t) { fail(); }); });
      settle();
    }
}

}  // namespace
