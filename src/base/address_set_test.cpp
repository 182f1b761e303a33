// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "base/address_set.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace {

using errand::detail::address_set;

// Of the size of the smallest record, where sets are used.
struct alignas(64) object {
  char bytes[128];
};

TEST(address_set, is_a_set) {
  std::vector<object> objects(5);
  address_set<object> s;
  EXPECT_FALSE(s.contains(objects[0]));
  EXPECT_FALSE(s.erase(objects[0]));
  for (auto& o : objects) s.insert(o);
  EXPECT_EQ(s.size(), 5U);
  EXPECT_TRUE(s.erase(objects[2]));
  EXPECT_FALSE(s.erase(objects[2]));
  EXPECT_FALSE(s.contains(objects[2]));
  std::set<object const*> seen;
  s.for_each([&](object const& o) { seen.insert(&o); });
  EXPECT_EQ(seen, (std::set<object const*>{&objects[0], &objects[1], &objects[3], &objects[4]}));
}

// Against std::set, in any order, and with addresses that collide: many share their low bits.
TEST(address_set, agrees_with_another_set_after_any_steps) {
  std::vector<object> objects(3000);
  std::mt19937 random{20261123};
  address_set<object> s;
  std::set<object const*> expected;
  for (int step = 0; step < 60'000; ++step) {
    object& o = objects[random() % objects.size()];
    bool const growing = step % 20'000 < 12'000;
    if (expected.count(&o) == 0) {
      if (growing || random() % 4 == 0) {
        s.insert(o);
        expected.insert(&o);
      } else {
        ASSERT_FALSE(s.erase(o));
      }
    } else if (!growing || random() % 4 == 0) {
      ASSERT_TRUE(s.erase(o));
      expected.erase(&o);
    }
    ASSERT_EQ(s.contains(o), expected.count(&o) == 1);
    ASSERT_EQ(s.size(), expected.size());
  }
  std::set<object const*> seen;
  s.for_each([&](object const& o) { seen.insert(&o); });
  EXPECT_EQ(seen, expected);
}

}  // namespace
