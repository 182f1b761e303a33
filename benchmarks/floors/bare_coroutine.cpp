// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The floor of coroutines: the smallest lazy task that C++20 allows, with symmetric transfer, and neither errors, stops nor
// threads. Once with the last frame kept for the next, which is the least that a frame can cost; once as anybody writes it,
// with frames from operator new.
#include "chain.hpp"

#include <errand/task.hpp>

#include <coroutine>
#include <exception>
#include <utility>
#include <vector>

namespace microbench {

namespace {

template <bool keeps_last_frame>
class bare_task {
 public:
  struct promise_type {
    std::coroutine_handle<> awaited_by = std::noop_coroutine();
    std::size_t value = 0;

    bare_task get_return_object() { return bare_task{handle::from_promise(*this)}; }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    auto final_suspend() const noexcept {
      struct to_awaiter {
        bool await_ready() const noexcept { return false; }
        std::coroutine_handle<> await_suspend(handle h) const noexcept { return h.promise().awaited_by; }
        void await_resume() const noexcept {}
      };
      return to_awaiter{};
    }
    void return_value(std::size_t v) noexcept { value = v; }
    void unhandled_exception() const noexcept { std::terminate(); }

    static void* operator new(std::size_t size) {
      return keeps_last_frame && size == kept_size ? (kept_size = 0, std::exchange(kept, nullptr)) : ::operator new(size);
    }
    static void operator delete(void* frame, std::size_t size) noexcept {
      if constexpr (keeps_last_frame) {
        ::operator delete(std::exchange(kept, frame));
        kept_size = size;
      } else {
        ::operator delete(frame, size);
      }
    }
  };
  using handle = std::coroutine_handle<promise_type>;

  bare_task(bare_task&& other) noexcept : frame_{std::exchange(other.frame_, nullptr)} {}
  bare_task& operator=(bare_task&&) = delete;
  ~bare_task() {
    if (frame_) frame_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> by) const noexcept {
    frame_.promise().awaited_by = by;
    return frame_;
  }
  std::size_t await_resume() const noexcept { return frame_.promise().value; }
  void resume() const { frame_.resume(); }

 private:
  static inline void* kept = nullptr;
  static inline std::size_t kept_size = 0;

  explicit bare_task(handle frame) : frame_{frame} {}
  handle frame_;
};

template <bool keeps_last_frame>
[[gnu::noinline]] bare_task<keeps_last_frame> successor(std::size_t n) {
  co_return n + 1;
}

template <bool keeps_last_frame>
bare_task<keeps_last_frame> call_children(std::size_t count) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < count; ++i) {
    auto child = successor<keeps_last_frame>(n);
    n = co_await child;
  }
  co_return n;
}

template <bool keeps_last_frame>
repetition call(settings const& s) {
  return [n = s.times(2'000'000)] {
    auto const caller = call_children<keeps_last_frame>(n);
    auto const begin = now_ns();
    caller.resume();
    auto const end = now_ns();
    require(caller.await_resume() == n, "a child coroutine did not run");
    return sample{ns_each(begin, end, n)};
  };
}

bare_task<true> wait_once() {
  co_await std::suspend_always{};
  co_return 1;
}

// Memory of a suspended coroutine, and its handle in a vector: what any runtime adds to.
repetition weigh(settings const& s) {
  return [n = s.times(100'000)] {
    std::vector<bare_task<true>> all;
    all.reserve(n);
    auto const before = resident_bytes();
    auto const begin = now_ns();
    for (std::size_t i = 0; i < n; ++i) {
      all.push_back(wait_once());
      all.back().resume();
    }
    auto const most = resident_bytes();
    std::size_t ended = 0;
    for (auto const& t : all) {
      t.resume();
      ended += t.await_resume();
    }
    auto const end = now_ns();
    require(ended == n, "a coroutine did not end");
    return sample{(most - before) / static_cast<double>(n),
                  {{"most waiting", static_cast<double>(n)}, {"ns each", ns_each(begin, end, n)}}};
  };
}

// The least that a coroutine's frame can be: its promise knows who goes on, and nothing else.
struct barest {
  struct promise_type {
    std::coroutine_handle<> awaited_by = nullptr;
    static inline std::size_t asked_for = 0;

    barest get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
    static void* operator new(std::size_t size) { return ::operator new(asked_for = size); }
    static void operator delete(void* frame) noexcept { ::operator delete(frame); }
  };
  std::coroutine_handle<promise_type> frame;
};

// What the compiler needs for the parameters and the body of a coroutine of a chain.
barest wait_barely(chain& c, errand::future<void>) {
  ++c.waiting;
  co_await std::suspend_always{};
  ++c.ended;
}

}  // namespace

std::size_t bare_frame_of_a_chain() {
  chain c{1};
  wait_barely(c, {}).frame.destroy();
  return barest::promise_type::asked_for;
}

namespace {

add const child{"co-await-child", role::floor, "bare coroutine", &call<true>};
add const child_by_new{"co-await-child", role::floor, "bare coroutine, frames by operator new", &call<false>};
add const child_of_pool{"co-await-async", role::floor, "bare coroutine", &call<true>};
add const memory{"suspended-memory", role::floor, "bare coroutine", &weigh, place::own_process};

}  // namespace

}  // namespace microbench
