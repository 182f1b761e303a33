// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "base/address_marks.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace {

using errand::detail::address_marks;

// As far apart as the smallest that a record can be.
struct alignas(16) object {
  std::atomic<int> alive{1};
};

TEST(address_marks, is_a_set) {
  std::vector<object> objects(5);
  auto const s = std::make_unique<address_marks<object>>();
  EXPECT_FALSE(s->contains(objects[0]));
  EXPECT_FALSE(s->erase(objects[0]));
  for (auto& o : objects) s->insert(o);
  EXPECT_EQ(s->count().there, 5U);
  EXPECT_TRUE(s->erase(objects[2]));
  EXPECT_FALSE(s->erase(objects[2]));
  EXPECT_FALSE(s->contains(objects[2]));
  std::set<object const*> seen;
  s->for_each([&](object const& o) { seen.insert(&o); });
  EXPECT_EQ(seen, (std::set<object const*>{&objects[0], &objects[1], &objects[3], &objects[4]}));
  EXPECT_EQ(s->count().ever, 5U);
}

// Against std::set, over memory of several pages of marks, with some objects that come and go again and again.
TEST(address_marks, agrees_with_another_set_after_any_steps) {
  std::vector<object> objects(50'000);
  std::mt19937 random{20261124};
  auto const s = std::make_unique<address_marks<object>>();
  std::set<object const*> expected;
  std::uint64_t entered = 0;
  for (int step = 0; step < 200'000; ++step) {
    object& o = objects[random() % objects.size()];
    bool const growing = step % 50'000 < 30'000;
    if (expected.count(&o) == 0) {
      if (growing || random() % 4 == 0) {
        s->insert(o);
        expected.insert(&o);
        ++entered;
      } else {
        ASSERT_FALSE(s->erase(o));
      }
    } else if (!growing || random() % 4 == 0) {
      ASSERT_TRUE(s->erase(o));
      expected.erase(&o);
    }
    ASSERT_EQ(s->contains(o), expected.count(&o) == 1);
    if (step % 1000 == 0) {
      ASSERT_EQ(s->count().there, expected.size());
    }
  }
  std::set<object const*> seen;
  s->for_each([&](object const& o) { seen.insert(&o); });
  EXPECT_EQ(seen, expected);
  EXPECT_EQ(s->count().ever, entered);
}

// Neighbours in one word, while another thread looks at whoever is there: nobody that it looks at has left.
TEST(address_marks, many_threads_enter_and_leave_while_one_looks) {
  constexpr int threads = 4;
  std::vector<object> objects(threads * 100);
  auto const s = std::make_unique<address_marks<object>>();
  std::atomic<int> at_work{threads};
  std::vector<std::jthread> all;
  for (int t = 0; t != threads; ++t)
    all.emplace_back([&, t] {
      for (int round = 0; round != 2000; ++round)
        for (std::size_t i = static_cast<std::size_t>(t); i < objects.size(); i += threads * 10) {
          object& o = objects[i];
          o.alive = 1;
          s->insert(o);
          if (!s->erase(o)) ADD_FAILURE() << "one was lost";
          o.alive = 0;
        }
      --at_work;
    });
  int dead = 0;
  while (at_work != 0) s->for_each([&](object const& o) { dead += o.alive == 0 ? 1 : 0; });
  all.clear();
  EXPECT_EQ(dead, 0);
  EXPECT_EQ(s->count().there, 0U);
  EXPECT_EQ(s->count().ever, 2000U * objects.size() / 10);
}

}  // namespace
