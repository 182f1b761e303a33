// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Data that gathers until somebody takes it: a number, added to or with bits set, by one exchange and a ring if somebody watches; or
// a value that replaces the one before.
#include "queue/event_thread.hpp"

#include <errand/detail/sources.hpp>

namespace errand::detail {

namespace {

class number_core final : public rung_core {
 public:
  explicit number_core(bool adds) noexcept : adds_{adds} {}

  void merge(std::uint64_t value) noexcept {
    // (DS1) seq_cst: the value, then whether somebody watches; who watches says so and then looks at the value.
    if (adds_)
      value_.fetch_add(value, std::memory_order_seq_cst);  // (DS1)
    else
      value_.fetch_or(value, std::memory_order_seq_cst);  // (DS1)
    if (watched_.load(std::memory_order_seq_cst) && watched_.exchange(false, std::memory_order_seq_cst)) ring();  // (DS1)
  }

 private:
  bool take(void* raw) override {
    auto const value = value_.exchange(0, std::memory_order_seq_cst);  // (DS1)
    if (value == 0) return false;
    static_cast<std::optional<std::uint64_t>*>(raw)->emplace(value);
    return true;
  }
  bool watch() override {
    watched_.store(true, std::memory_order_seq_cst);                         // (DS1)
    if (value_.load(std::memory_order_seq_cst) == 0) return false;           // (DS1)
    return watched_.exchange(false, std::memory_order_seq_cst);              // (DS1) else it is ringing already
  }
  void watch_no_more() noexcept override { watched_.store(false, std::memory_order_relaxed); }

  bool const adds_;
  std::atomic<std::uint64_t> value_{0};
  std::atomic<bool> watched_{false};
};

class value_core final : public event_core {
 public:
  explicit value_core(void (*destroy)(void*) noexcept) noexcept : destroy_{destroy} {}

  void put(void* value) noexcept {
    void* before = nullptr;
    {
      std::lock_guard const held{guard()};
      before = is_cancelled() ? value : std::exchange(value_, value);
    }
    if (before != nullptr) destroy_(before);
    arrived();
  }

 private:
  ~value_core() override {
    if (value_ != nullptr) destroy_(value_);
  }
  bool take(void* raw) override {
    if (value_ == nullptr) return false;
    *static_cast<void**>(raw) = std::exchange(value_, nullptr);
    return true;
  }
  bool watch() override { return value_ != nullptr; }

  void (*const destroy_)(void*) noexcept;
  void* value_ = nullptr;  // under the guard
};

}  // namespace

event_core& make_data_source(bool adds) {
  static_cast<void>(event_thread::of_process());
  return *new number_core{adds};
}
void merge_data(event_core& s, std::uint64_t value) noexcept {
  if (!s.inherited()) static_cast<number_core&>(s).merge(value);
}

event_core& make_value_source(void (*destroy)(void*) noexcept) { return *new value_core{destroy}; }
void put_value(event_core& s, void* value) noexcept {
  if (!s.inherited()) static_cast<value_core&>(s).put(value);
}

}  // namespace errand::detail
