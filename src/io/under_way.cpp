// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "io/under_way.hpp"

#include "base/cpu_count.hpp"
#include "base/fork.hpp"

#include <atomic>

namespace errand::detail {

namespace {

constinit std::atomic<std::size_t> of_all{0};
// In the child of a fork: what is under way is the parent's.
[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept { of_all.store(0, std::memory_order_relaxed); }};

}  // namespace

bytes_under_way::bytes_under_way() noexcept : born_in_{process_generation} {}

void bytes_under_way::add(std::size_t count) noexcept {
  count_ += count;
  of_all.fetch_add(count, std::memory_order_relaxed);
}

void bytes_under_way::remove(std::size_t count) noexcept {
  count_ -= count;
  if (born_in_ == process_generation) of_all.fetch_sub(count, std::memory_order_relaxed);
}

std::size_t bytes_under_way::bound() noexcept {
  static std::size_t const bound = std::size_t{limit_from_environment("ERRAND_WRITE_BEHIND", 1, 64)} << 20;
  return bound;
}

bool bytes_under_way::is_room_for(std::size_t more) noexcept {
  return of_all.load(std::memory_order_relaxed) + more <= bound();
}

future<void> unless_too_much(future<void> started) {
  if (!bytes_under_way::is_room_for(0)) {
    try {
      started.wait();
    } catch (operation_cancelled const&) {  // of the task that waits here; it hears of it where it waits next
    }
  }
  return started;
}

}  // namespace errand::detail
