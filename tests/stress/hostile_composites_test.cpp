// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Composites, groups and loops beyond what anybody needs: when_all and when_any of thousands, nested hundreds
// deep; groups that are spawned into, waited for and stopped from everywhere; loops without an end; and all of them
// inside one another. Whatever fails, is stopped or is dropped, no task is lost and none is left.
#include <functional>
#include <memory>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#include "stress/hostile.hpp"

namespace {

using namespace errand_test;

constexpr int many = scaled(2000);

/// So many futures of what `make(i)` starts.
template <class Make>
auto futures(int n, Make make) {
  std::vector<decltype(make(0))> all;
  for (int i = 0; i < n; ++i) all.push_back(make(i));
  return all;
}

auto sleeper(int) { return errand::async(sleep_long); }

using hostile_composites = hostile;

TEST_F(hostile_composites, of_thousands_gather_values_of_every_kind_in_order) {
  auto pointers =
      errand::when_all(futures(many, [](int i) { return errand::async([i] { return std::make_unique<int>(i); }); }));
  auto bits = errand::when_all(futures(many, [](int i) { return errand::async([i] { return i % 3 == 0; }); }));
  std::atomic<int> ran{0};
  errand::when_all(futures(many, [&](int) { return errand::async([&] { ++ran; }); })).get();
  EXPECT_EQ(ran, many);
  auto const gathered_pointers = pointers.get();
  auto const gathered_bits = bits.get();
  for (std::size_t i = 0; i < std::size_t{many}; ++i) {
    EXPECT_EQ(*gathered_pointers[i], static_cast<int>(i));
    EXPECT_EQ(gathered_bits[i], i % 3 == 0);
  }
}

TEST_F(hostile_composites, of_thousands_are_won_by_the_only_one_that_can) {
  auto r = errand::when_any(futures(many, [](int i) {
             return errand::async([i, here = counted{}] { return i == many / 2 ? i : sleep_long(); });
           })).get();
  EXPECT_EQ(r.index, std::size_t{many / 2});
  EXPECT_EQ(r.value, many / 2);
  EXPECT_EQ(counted::alive(), 0);
}

TEST_F(hostile_composites, of_thousands_that_fail_give_every_error_to_him_who_asks) {
  std::atomic<int> thrown{0};
  auto failing = [&](int i) {
    return errand::async([&, i]() -> int {
      ++thrown;
      throw i;
    });
  };
  EXPECT_THROW((void)errand::when_any(futures(many, failing)).get(), int);
  EXPECT_EQ(thrown, many);
  thrown = 0;
  auto o = errand::when_all(futures(many, failing)).result();
  EXPECT_NE(o.error(), nullptr);
  int further = 0;
  for (auto const& e : o.further_errors()) further += e != nullptr ? 1 : 0;
  EXPECT_EQ(1 + further, thrown);
}

TEST_F(hostile_composites, of_thousands_that_sleep_are_stopped_and_dropped) {
  auto all = errand::when_all(futures(many, sleeper));
  auto any = errand::when_any(futures(many, sleeper));
  all.request_stop();
  any.request_stop();
  EXPECT_TRUE(all.result().stopped());
  EXPECT_TRUE(any.result().stopped());
  { auto dropped = errand::when_all(futures(many, sleeper)); }
  { auto dropped = errand::when_any(futures(many, sleeper)); }
}

TEST_F(hostile_composites, nested_hundreds_deep_gather_and_are_stopped) {
  constexpr int depth = scaled(500);
  auto gathered = errand::async([] { return std::vector<int>{0}; });
  for (int i = 1; i <= depth; ++i)
    gathered = errand::when_all(std::move(gathered), errand::async([i] { return i; })).then([](auto both) {
      auto v = std::move(std::get<0>(both));
      v.push_back(std::get<1>(both));
      return v;
    });
  auto const v = gathered.get();
  EXPECT_EQ(v.size(), std::size_t{depth + 1});
  EXPECT_EQ(v.back(), depth);

  auto stopped = sleeper(0);
  for (int i = 0; i < depth; ++i)
    stopped = errand::when_any(std::move(stopped), sleeper(0)).then([](errand::any_result<int> r) { return r.value; });
  stopped.request_stop();
  EXPECT_TRUE(stopped.result().stopped());
}

class hostile_groups : public hostile {
 protected:
  enum class end { well, stop, failure };

  /// Threads spawn trees into a group that others wait for, and that one may stop; a node of a tree may fail.
  void storm(errand::place where, end how) {
    std::atomic<int> ran{0}, over{0}, ready{0}, after{0};
    errand::task_group g{where};
    std::function<void(int)> const node = [&, alive = counted{}](int depth) {
      struct at_end {
        std::atomic<int>& count;
        ~at_end() { ++count; }
      } const end_of_node{over};
      ++ran;
      for (int i = 0; depth > 0 && i < 2; ++i) g.spawn(node, depth - 1);
      if (depth == 1) this_task::yield();
      if (depth == 2 && how == end::failure) throw std::runtime_error{"a node"};
    };
    auto wait = [&] {
      if (how != end::failure) return g.wait();
      try {
        g.wait();
      } catch (std::runtime_error const&) {
      }
    };
    constexpr int threads = 7;
    {
      std::vector<std::jthread> all;
      for (int t = 0; t < threads; ++t)
        all.emplace_back([&, t] {
          ++ready;
          until([&] { return ready == threads; });
          for (int i = 0; t < 4 && i < 10; ++i)
            i % 2 == 0 ? g.spawn(node, 3) : g.spawn({.timeout = 1h, .name = "node"}, node, 3);
          if (t == 4 || t == 5) wait();
          if (t == 6 && how == end::stop) g.request_stop();
        });
    }
    if (how == end::failure) {
      EXPECT_THROW(g.wait(), std::runtime_error);
      EXPECT_THROW(g.wait(), std::runtime_error) << "said once, it is said again";
      EXPECT_FALSE(g.errors().empty());
    } else {
      g.wait();
      EXPECT_TRUE(g.errors().empty());
    }
    EXPECT_EQ(ran, over);
    if (how == end::well) {
      EXPECT_EQ(ran, 4 * 10 * 15);
      return;
    }
    for (int i = 0; i < 20; ++i) g.spawn([&] { ++after; });
    wait();
    EXPECT_EQ(after, 0) << "a group that was stopped, or failed, begins nothing more";
  }

  errand::pool three_{3};
};

TEST_F(hostile_groups, spawned_into_from_everywhere_lose_no_task) {
  for (errand::place const where :
       {errand::place{errand::threads}, errand::place{three_}, errand::place{errand::blocking}})
    for (int round = 0; round < scaled(6); ++round) storm(where, end::well);
}

TEST_F(hostile_groups, stopped_in_the_midst_begin_nothing_more) {
  for (errand::place const where :
       {errand::place{errand::threads}, errand::place{three_}, errand::place{errand::blocking}})
    for (int round = 0; round < scaled(6); ++round) storm(where, end::stop);
}

TEST_F(hostile_groups, that_fail_in_the_midst_say_so_to_all_who_wait) {
  for (errand::place const where :
       {errand::place{errand::threads}, errand::place{three_}, errand::place{errand::blocking}})
    for (int round = 0; round < scaled(6); ++round) storm(where, end::failure);
}

int tree_of_groups(int depth) {
  counted const here;
  if (depth == 0) return 1;
  std::atomic<int> leaves{0};
  errand::task_group g;
  for (int i = 0; i < 3; ++i) g.spawn([&, alive = counted{}] { leaves += tree_of_groups(depth - 1); });
  g.wait();
  return leaves;
}

/// 1 + 3 + … + 3^depth: a race whose winner runs a tree of groups, against one that sleeps and one that blocks its thread;
/// gathered with the level below, gone on from at blocking; a loop whose iterations wait; and a move to the pool.
errand::task<int> levels(errand::pool& p, int depth) {
  counted const here;
  if (depth == 0) co_return 1;
  auto winner = errand::when_any(
      errand::async(p, [depth] { return tree_of_groups(depth); }).then([alive = counted{}](int n) { return n; }),
      errand::async(sleep_long), errand::async(errand::blocking, [alive = counted{}](std::stop_token token) {
        until([&] { return token.stop_requested(); });
        this_task::check_stop();
        return -2;
      }));
  auto below = errand::async(levels, std::ref(p), depth - 1);
  auto sum =
      errand::when_all(std::move(winner), std::move(below)).then(errand::blocking, [alive = counted{}](auto both) {
        return std::get<0>(both).value + std::get<1>(both);
      });
  int const total = co_await sum;
  auto const doubled = errand::map(p, std::vector<int>{1, 2, 3}, [&p](int x) {
    auto f = errand::async(p, [x] { return 2 * x; });
    this_task::yield();
    return f.get();
  });
  EXPECT_EQ(doubled, (std::vector<int>{2, 4, 6}));
  co_await errand::resume_on(p);
  co_return total;
}

TEST_F(hostile_composites, groups_coroutines_and_loops_inside_one_another_add_up_wherever_they_run) {
  std::vector<int> const depths{1, 2, 3}, sums{4, 13, 40};
  for (unsigned const workers : {1U, 2U, 16U}) {
    errand::pool p{workers};
    auto level = [&](int depth) { return errand::async(p, levels, std::ref(p), depth).get(); };
    EXPECT_EQ(errand::map(p, depths, [&](int depth) { return levels(p, depth).get(); }), sums);
    EXPECT_EQ(errand::async(errand::blocking, [&] { return errand::map(errand::inplace, depths, level); }).get(), sums);
    auto fails_at_2 = [&](int depth) {
      auto f = errand::async(levels, std::ref(p), 2);
      if (depth == 2) throw depth;
      f.get();
    };
    EXPECT_THROW(errand::for_each(p, depths, fails_at_2), int);
    for (int i = 0; i < 4; ++i) {
      auto dropped = errand::async(p, levels, std::ref(p), 3);
      if (i % 2 == 0) std::this_thread::yield();
    }
    EXPECT_EQ(counted::alive(), 0);
  }
}

class hostile_loops : public hostile {
 protected:
  errand::pool one_{1}, three_{3};
  std::array<errand::place, 5> places_{one_, three_, errand::threads, errand::blocking, errand::inplace};
};

TEST_F(hostile_loops, without_an_end_end_by_a_failure_a_stop_or_a_time_limit) {
  for (auto where : places_) {
    std::atomic<int> begun{0};
    EXPECT_THROW(errand::for_each_index(where, SIZE_MAX,
                                        [&](std::size_t) {
                                          counted const here;
                                          if (begun++ == 500) throw 5;
                                        }),
                 int);
    EXPECT_EQ(counted::alive(), 0);

    auto stop_one_that = [&](auto iteration) {
      begun = 0;
      auto f = errand::async([&] {
        errand::for_each_index(where, SIZE_MAX, [&](std::size_t) {
          counted const here;
          ++begun;
          iteration();
        });
      });
      until([&] { return begun > 0; });
      f.request_stop();
      EXPECT_TRUE(f.result().stopped());
      EXPECT_EQ(counted::alive(), 0);
    };
    stop_one_that(this_task::check_stop);
    stop_one_that(this_task::yield);

    auto yields = [&] { errand::for_each_index(where, SIZE_MAX, [](std::size_t) { this_task::yield(); }); };
    EXPECT_THROW(errand::async({.timeout = 1ms}, yields).get(), errand::timed_out);
  }
}

TEST_F(hostile_loops, give_futures_as_results_and_stop_and_join_them_if_they_fail) {
  for (auto where : places_) {
    int sum = 0;
    auto yields = [where](int x) { return errand::async(where, [x] { return this_task::yield(), x; }); };
    for (auto& f : errand::map(where, std::vector<int>{1, 2, 3, 4, 5}, yields)) sum += f.get();
    EXPECT_EQ(sum, 15);
    auto fails = [](int x) { return x == 3 ? throw x : errand::async([here = counted{}] { return sleep_long(); }); };
    EXPECT_THROW((void)errand::map(where, std::vector<int>{1, 2, 3, 4, 5}, fails), int);
    EXPECT_EQ(counted::alive(), 0);
  }
}

}  // namespace
