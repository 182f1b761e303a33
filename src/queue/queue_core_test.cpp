// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the public face of queues does not show: that items and turns ask the system for no memory in the steady state, and that items
// are linked in their order whatever they are.
#include "queue/queue_core.hpp"

#include "base/recycler.hpp"
#include "base/sanitizers.hpp"

#include <errand/queue.hpp>

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace errand::detail {
namespace {

TEST(queue_core, asks_the_system_for_no_memory_for_items_turns_and_queues_in_the_steady_state) {
  if (sanitized_memory) GTEST_SKIP() << "every block comes from the system, so that the sanitizer sees it";
  errand::serial_queue q;
  std::vector<errand::future<void>> items;
  items.reserve(100);
  int count = 0;
  auto const work = [&] {
    for (int i = 0; i < 100; ++i) items.push_back(errand::async(q, [&] { ++count; }));
    errand::sync(q, [&] { ++count; });
    for (auto& f : items) f.get();
    items.clear();
    errand::serial_queue const another{"short"};
  };
  auto least = UINT64_MAX;
  for (int i = 0; i < 50; ++i) {
    auto const before = recycler_statistics().system_allocations;
    work();
    least = std::min(least, recycler_statistics().system_allocations - before);
  }
  EXPECT_EQ(least, 0U);
  EXPECT_EQ(count, 50 * 101);
}

struct item : record {
  explicit item(place_core& home) : record{[](record*, record_verb) noexcept { return true; }, {}} {
    home_ = &home;
    unbegun_item::enter(*this);
  }
};

TEST(item_list, gives_items_back_in_the_order_in_which_they_came_and_high_ones_first) {
  errand::serial_queue q;
  auto& core = queue_access::core(q);
  auto& normal = core.lane_place(lane::normal);
  std::array<item, 3> plain{item{normal}, item{normal}, item{normal}};
  std::array<item, 2> high{item{core.lane_place(lane::high)}, item{core.lane_place(lane::high)}};
  item low{core.lane_place(lane::low)};
  item_list list;
  EXPECT_TRUE(list.empty());
  list.append_newest_first(nullptr);
  link_item(plain[0], nullptr);
  link_item(low, &plain[0]);
  link_item(high[0], &low);
  link_item(plain[1], &high[0]);
  list.append_newest_first(&plain[1]);
  list.append_newest_first(nullptr);
  link_item(plain[2], nullptr);
  list.append_newest_first(&plain[2]);
  link_item(high[1], nullptr);
  list.append_newest_first(&high[1]);
  std::vector<runnable*> order;
  while (!list.empty()) order.push_back(list.pop_front());
  EXPECT_EQ(order, (std::vector<runnable*>{&high[0], &high[1], &plain[0], &plain[1], &plain[2], &low}));
  EXPECT_EQ(list.front(), nullptr);
}

}  // namespace
}  // namespace errand::detail
