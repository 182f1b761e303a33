// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Signals, by a handler of ours that counts them and rings the events' thread. Tempting: signalfd. Fails because it needs
// the signal blocked in each thread, also those that the program has made itself before: one that does not block it gets the default
// action, mostly the end of the program. And what is blocked stays so in programs that are executed.
#include "base/fork.hpp"
#include "queue/event_thread.hpp"

#include <errand/detail/sources.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <vector>

namespace errand::detail {

namespace {

constexpr std::size_t signals = NSIG;

// Counted by the handler on whichever thread, read by sources. seq_cst: (SG1) counted before the bell, which then has them looked at.
struct one_signal {
  std::atomic<std::uint64_t> count{0};
  std::atomic<int> sender{0};
};
constinit std::array<one_signal, signals> counted{};

void take_signal(int number, siginfo_t* info, void*) noexcept {
  one_signal& s = counted[static_cast<std::size_t>(number)];
  s.sender.store(info != nullptr && (info->si_code <= 0) ? info->si_pid : 0, std::memory_order_relaxed);
  s.count.fetch_add(1, std::memory_order_seq_cst);  // (SG1)
  if (auto* const thread = event_thread::if_there(); thread != nullptr) thread->ring_bell();
}

class signal_core;

// Whose handlers are set, and who is to be told.
constinit small_lock list_guard{};
constinit std::array<unsigned, signals> users{};        // how many sources a signal has
constinit std::array<struct sigaction, signals> before{};  // what was set before the first
constinit signal_core* all = nullptr;

[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept {
  static_cast<void>(list_guard.break_open());
  all = nullptr;
  for (std::size_t n = 1; n < signals; ++n)
    if (std::exchange(users[n], 0U) != 0) ::sigaction(static_cast<int>(n), &before[n], nullptr);
}};

class signal_core final : public event_core {
 public:
  explicit signal_core(std::vector<int> const& which) : numbers_{which}, seen_(which.size()) {}

  // Throws std::invalid_argument.
  void open() {
    event_thread::of_process().on_bell(&tell_all);
    std::lock_guard const held{list_guard};
    for (; set_ < numbers_.size(); ++set_) {
      auto const n = static_cast<std::size_t>(numbers_[set_]);
      seen_[set_] = counted[n].count.load(std::memory_order_relaxed);
      if (users[n]++ != 0) continue;
      struct sigaction ours{};
      ours.sa_sigaction = &take_signal;
      ours.sa_flags = SA_SIGINFO | SA_RESTART;
      sigfillset(&ours.sa_mask);
      if (::sigaction(numbers_[set_], &ours, &before[n]) == 0) continue;
      --users[n];
      throw std::invalid_argument{"errand::signal_source: signal " + std::to_string(numbers_[set_]) + " cannot be caught"};
    }
    next_ = std::exchange(all, this);
    listed_ = true;
  }

 private:
  [[nodiscard]] bool is_there() const noexcept override {
    for (std::size_t i = 0; i < numbers_.size(); ++i)
      if (counted[static_cast<std::size_t>(numbers_[i])].count.load(std::memory_order_seq_cst) != seen_[i]) return true;  // (SG1)
    return false;
  }

  bool take(void* raw) override {
    for (std::size_t i = 0; i < numbers_.size(); ++i) {
      one_signal const& s = counted[static_cast<std::size_t>(numbers_[i])];
      auto const now = s.count.load(std::memory_order_seq_cst);  // (SG1)
      if (now == seen_[i]) continue;
      static_cast<std::optional<signal_event>*>(raw)->emplace(
          signal_event{numbers_[i], now - std::exchange(seen_[i], now), s.sender.load(std::memory_order_relaxed)});
      return true;
    }
    return false;
  }
  // What is counted from now on rings the bell, and is told as long as we are watched.
  bool watch() override { return is_there(); }

  void close() noexcept override {
    std::lock_guard const held{list_guard};
    if (listed_) {
      signal_core** link = &all;
      while (*link != this) link = &(*link)->next_;
      *link = next_;
    }
    for (; set_ != 0; --set_) {
      auto const n = static_cast<std::size_t>(numbers_[set_ - 1]);
      if (--users[n] != 0) continue;
      struct sigaction now{};
      // Only if nobody else has set his own meanwhile.
      if (::sigaction(numbers_[set_ - 1], nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == &take_signal)
        ::sigaction(numbers_[set_ - 1], &before[n], nullptr);
    }
  }

  // By the events' thread.
  static void tell_all() noexcept {
    std::array<signal_core*, 64> some;
    for (std::size_t from = 0;; from += some.size()) {
      std::size_t count = 0;
      {
        std::lock_guard const held{list_guard};
        std::size_t at = 0;
        for (signal_core* s = all; s != nullptr && count < some.size(); s = s->next_, ++at) {
          if (at < from) continue;
          s->add_reference();
          some[count++] = s;
        }
      }
      for (std::size_t i = 0; i < count; ++i) {
        some[i]->arrived();
        some[i]->drop_reference();
      }
      if (count < some.size()) return;
    }
  }

  std::vector<int> const numbers_;
  std::vector<std::uint64_t> seen_;  // under the source's guard
  std::size_t set_ = 0;              // how many are counted in users, under the lock
  bool listed_ = false;              // under the lock, as is the next
  signal_core* next_ = nullptr;
};

}  // namespace

event_core& make_signal_source(int const* first, std::size_t count) {
  std::vector<int> numbers{first, first + count};
  for (int const n : numbers) {
    bool const fault = n == SIGSEGV || n == SIGBUS || n == SIGFPE || n == SIGILL || n == SIGTRAP || n == SIGSYS || n == SIGABRT;
    if (n <= 0 || n >= NSIG || n == SIGKILL || n == SIGSTOP || fault)
      throw std::invalid_argument{"errand::signal_source: signal " + std::to_string(n) +
                                  (fault                            ? " is a fault of the thread that gets it; a source cannot stand for that"
                                   : n == SIGKILL || n == SIGSTOP ? " cannot be caught"
                                                                  : " does not exist")};
  }
  if (numbers.empty()) throw std::invalid_argument{"errand::signal_source: no signal was named"};
  std::sort(numbers.begin(), numbers.end());  // the lowest is told first; one that was named twice, once
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  auto* const made = new signal_core{numbers};
  try {
    made->open();
  } catch (...) {
    drop_source(*made);
    throw;
  }
  return *made;
}

}  // namespace errand::detail
