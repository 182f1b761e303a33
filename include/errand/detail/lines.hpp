// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: io
//
// Text files line by line, of any size, in constant memory: `lines` is a range that reads ahead in the background;
// for_each_line and reduce_lines share the lines among the threads of a pool. Included by io.hpp.
#pragma once

#include <errand/detail/split.hpp>
#include <errand/task.hpp>

#include <atomic>
#include <concepts>
#include <filesystem>
#include <iterator>
#include <new>
#include <source_location>
#include <string_view>
#include <type_traits>
#include <utility>

namespace errand {
namespace detail {

/// What stands behind `lines`: the chunk that is being read, as far as the header sees it.
struct line_reader {
  line_cursor rest;       // of the chunk
  std::string_view line;  // the current one
};
[[nodiscard]] line_reader* make_line_reader(std::filesystem::path path, std::source_location from);
/// The next chunk of whole lines, in `rest`; false at the end of the file.
[[nodiscard]] bool next_chunk(line_reader& reader);
void end_line_reader(line_reader* reader) noexcept;

[[nodiscard]] inline bool next_line(line_reader& reader) {
  while (!reader.rest.next(reader.line))
    if (!next_chunk(reader)) return false;
  return true;
}

/// Is called with chunks of whole lines, by several threads. `own` is null at first, and whoever gets chunks, one after the
/// other, has one of his own.
using chunk_body = void (*)(void* context, void*& own, char const* begin, char const* end);
/// All lines of a file, in chunks, shared among the workers of a pool and the caller; in order on the calling thread if there is
/// no pool. Returns when all is done; rethrows the first failure.
void run_over_lines(place_core* where, std::filesystem::path const& path, void* context, chunk_body body,
                    std::source_location from);

/// The states of reduce_lines: one for each runner that found something to do.
template <class State, class Make, class PerLine>
class line_reduction {
  struct alignas(64) part {
    State state;
    part* next;
  };

 public:
  line_reduction(Make& make, PerLine& per_line) noexcept : make_{make}, per_line_{per_line} {}
  line_reduction(line_reduction const&) = delete;
  line_reduction& operator=(line_reduction const&) = delete;
  ~line_reduction() {
    for (part* p = parts_.load(std::memory_order_relaxed); p != nullptr;) delete std::exchange(p, p->next);
  }

  static void take_chunk(void* self, void*& own, char const* begin, char const* end) {
    auto& reduction = *static_cast<line_reduction*>(self);
    if (own == nullptr) own = reduction.add();
    State& state = static_cast<part*>(own)->state;
    split_lines(begin, end, [&](std::string_view line) { call(reduction.per_line_, state, line); });
  }

  template <class Merge>
  State gather(Merge& merge) {
    part* const first = parts_.load(std::memory_order_relaxed);
    if (first == nullptr) return call(make_);
    for (part* p = first->next; p != nullptr; p = p->next) {
      if constexpr (std::is_invocable_r_v<State, Merge&, State, State>)
        first->state = call(merge, std::move(first->state), std::move(p->state));
      else
        call(merge, first->state, std::move(p->state));
    }
    return std::move(first->state);
  }

 private:
  // The list is read when all who add to it have been joined: nothing is published by it.
  part* add() {
    auto* const p = new part{call(make_), parts_.load(std::memory_order_relaxed)};
    while (!parts_.compare_exchange_weak(p->next, p, std::memory_order_relaxed)) {
    }
    return p;
  }

  Make& make_;
  PerLine& per_line_;
  std::atomic<part*> parts_{nullptr};
};

}  // namespace detail

/// The lines of a text file, as a range that is read once: `for (std::string_view line : errand::lines("log.txt"))`.
///
/// A line ends with "\n" or "\r\n", which is no part of it; the last need not; NUL and a lone "\r" are bytes like any other. An
/// empty file has no lines. A line is valid until the next one is asked for. Pipes and files of /proc are read as well.
///
/// begin() opens the file, and from then on it is read ahead in the background, some MiB at most; memory does not grow with the
/// file, but with its longest line. begin() and ++ wait for what is not there yet: that parks a task, blocks a thread, and is a
/// point of cancellation. They throw std::filesystem::filesystem_error with the path, as soon as all lines before the error
/// have been given; operation_cancelled, and may then be called again; std::bad_alloc; for a pipe std::system_error, if there is
/// no thread to be had. An error but the cancellation is thrown again by whoever asks for more. Of a file that grows or shrinks
/// meanwhile there are the lines up to what was read.
///
/// One thread or task at a time may use it. In the child of a fork() a range that was begun before throws std::logic_error.
/// Cost: some nanoseconds a line; for each MiB a look under a lock, and a wake if it had to be waited for.
class lines {
 public:
  class iterator {
   public:
    using value_type = std::string_view;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    iterator(iterator&&) noexcept = default;
    iterator& operator=(iterator&&) noexcept = default;
    [[nodiscard]] std::string_view operator*() const noexcept { return reader_->line; }
    iterator& operator++() {
      if (!detail::next_line(*reader_)) reader_ = nullptr;
      return *this;
    }
    void operator++(int) { ++*this; }
    [[nodiscard]] friend bool operator==(iterator const& i, std::default_sentinel_t) noexcept { return i.reader_ == nullptr; }

   private:
    friend class lines;
    explicit iterator(detail::line_reader* reader) noexcept : reader_{reader} {}
    detail::line_reader* reader_;
  };

  /// Touches no file yet; but a relative path means the current directory at this moment. Throws std::bad_alloc.
  explicit lines(std::filesystem::path path, std::source_location from = std::source_location::current())
      : reader_{detail::make_line_reader(std::move(path), from)} {}
  lines(lines&& other) noexcept : reader_{std::exchange(other.reader_, nullptr)} {}
  lines& operator=(lines&& other) noexcept {
    if (this != &other) {
      reset();
      reader_ = std::exchange(other.reader_, nullptr);
    }
    return *this;
  }
  /// Waits for the piece of the file that is being read at the moment; not for one that may never come, of a pipe.
  ~lines() { reset(); }

  /// At the first line; called again, at the next one after those that were asked for.
  [[nodiscard]] iterator begin() { return iterator{detail::next_line(*reader_) ? reader_ : nullptr}; }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  void reset() noexcept {
    if (reader_ != nullptr) detail::end_line_reader(std::exchange(reader_, nullptr));
  }

  detail::line_reader* reader_;
};

/// f(line) for every line of a file, in any order and in parallel, on the default pool or at `where`. Lines are as of `lines`,
/// and valid during the call. f is shared by all: it must allow being called from several threads. The caller takes part and
/// returns when all have ended. The first exception stops the rest and is rethrown. A point of cancellation, between some
/// hundred KiB and in the waits. f may wait, and then keeps the lines up that it would have been given next. At `inplace` all is
/// done by the caller, in the order of the file.
///
/// A regular file is read by whoever works on it, at offsets, as long as it lies in the system's cache; from a disk, a pipe or
/// /proc it is read ahead in the background. No pool's thread is blocked by it. Lines are those up to the size that the file
/// has at the beginning, or to its end if it shrinks. Memory: less than 2 MiB for each worker, of which at most 16 are used, and
/// 13 for the read-ahead; more only for lines that are longer.
///
/// Throws std::filesystem::filesystem_error with the path, operation_cancelled, std::bad_alloc, std::system_error (the default
/// pool's threads), and what f throws.
template <detail::core_place Where, class F>
  requires std::is_invocable_v<F&, std::string_view>
void for_each_line(Where&& where, std::filesystem::path const& path, F&& f,
                   std::source_location from = std::source_location::current()) {
  auto each = [&f](std::string_view line) { detail::call(f, line); };  // f may be const, or a function
  detail::run_over_lines(
      detail::place_access::core(where), path, &each,
      [](void* context, void*&, char const* begin, char const* end) {
        detail::split_lines(begin, end, *static_cast<decltype(each)*>(context));
      },
      from);
}
template <class F>
  requires std::is_invocable_v<F&, std::string_view>
void for_each_line(std::filesystem::path const& path, F&& f, std::source_location from = std::source_location::current()) {
  errand::for_each_line(threads, path, f, from);
}

/// All lines of a file in one result: per_line(state, line) puts each into one of several states, of which every worker has its
/// own, made by make_state(); when all are through, merge makes one of two, merge(State, State) → State or
/// merge(State&, State&&) → void, until one is left, which is returned. What belongs to which state changes from run to run:
/// merge must be associative and commutative, and the lines' order must not matter. For an empty file it is make_state().
/// Everything else as for_each_line. make_state and per_line are called by several threads, merge by the caller alone.
template <detail::core_place Where, class Make, class PerLine, class Merge>
auto reduce_lines(Where&& where, std::filesystem::path const& path, Make&& make_state, PerLine&& per_line, Merge&& merge,
                  std::source_location from = std::source_location::current()) {
  using state = std::decay_t<std::invoke_result_t<Make&>>;
  static_assert(std::is_invocable_v<PerLine&, state&, std::string_view>,
                "errand::reduce_lines: per_line is called as per_line(State&, std::string_view)");
  static_assert(std::is_invocable_v<Merge&, state, state> || std::is_invocable_v<Merge&, state&, state>,
                "errand::reduce_lines: merge is called as merge(State, State), for a State, or merge(State&, State&&)");
  detail::line_reduction<state, std::remove_reference_t<Make>, std::remove_reference_t<PerLine>> states{make_state, per_line};
  detail::run_over_lines(detail::place_access::core(where), path, &states, &decltype(states)::take_chunk, from);
  return states.gather(merge);
}
template <class Make, class PerLine, class Merge>
  requires std::is_invocable_v<Make&>
auto reduce_lines(std::filesystem::path const& path, Make&& make_state, PerLine&& per_line, Merge&& merge,
                  std::source_location from = std::source_location::current()) {
  return errand::reduce_lines(threads, path, make_state, per_line, merge, from);
}

}  // namespace errand
