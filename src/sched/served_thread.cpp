// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "sched/served_thread.hpp"

#include "base/fork.hpp"
#include "task/rare_fields.hpp"
#include "task/stop.hpp"
#include "task/thread_state.hpp"

#include <mutex>
#include <unistd.h>

namespace errand::detail {

namespace {

constinit std::atomic<served_thread*> of_main_thread{nullptr};

[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept {
  of_main_thread.store(nullptr, std::memory_order_relaxed);
  state_of_this_thread.serves = nullptr;
}};

}  // namespace

served_thread::served_thread(char const* name)
    : self_{[](record*, record_verb) noexcept { return true; }, std::source_location{}} {
  self_.inplace_allowed_ = false;
  self_.state_.store(record_state::handle | record_state::begun, std::memory_order_relaxed);
  rare_fields_of(self_).name = name;
}

bool served_thread::is_main_thread() noexcept { return ::gettid() == ::getpid(); }

served_thread* served_thread::main() noexcept { return of_main_thread.load(std::memory_order_acquire); }  // (ST1)

bool served_thread::set_main(served_thread& s) noexcept {
  served_thread* nobody = nullptr;
  // (ST1) release: the thread as made; pairs with the acquires.
  return of_main_thread.compare_exchange_strong(nobody, &s, std::memory_order_acq_rel);
}

served_thread* served_thread::of(thread_state& t) noexcept {
  if (t.serves != nullptr || t.as_worker != nullptr) return t.serves;
  auto* const main = of_main_thread.load(std::memory_order_acquire);  // (ST1)
  if (main != nullptr && is_main_thread()) t.serves = main;
  return t.serves;
}

void served_thread::look_again() noexcept {
  std::lock_guard const held{guard_};
  calls_.fetch_add(1, std::memory_order_relaxed);
  // The waiter is in a frame that stays until end_wait().
  if (waits_ != nullptr && claim(*waits_, claimant::deadline)) waits_->wake(waits_);
}

bool served_thread::begin_wait(waiter& w, std::uint64_t calls) noexcept {
  std::lock_guard const held{guard_};
  if (calls_.load(std::memory_order_relaxed) != calls) return false;
  waits_ = &w;
  return true;
}

void served_thread::end_wait() noexcept {
  std::lock_guard const held{guard_};
  waits_ = nullptr;
}

}  // namespace errand::detail
