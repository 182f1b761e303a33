// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A main loop that computes and hands over 4 MiB of text every 10 ms: how much longer the same computing takes than without
// the writing. What errand and its rivals are all timed by. A writer brings hand_over(std::string, index), wait() for all
// that it was handed, and verify().
#pragma once

#include "files.hpp"
#include "fine_grained.hpp"
#include "machine.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

namespace microbench {

inline constexpr std::uint64_t blocks_of_a_batch = 4;

inline std::string batch_of_text(std::uint64_t index) {
  std::string batch;
  batch.reserve(blocks_of_a_batch * mib);
  for (std::uint64_t i = 0; i < blocks_of_a_batch; ++i) {
    batch += the_text().bytes();
    text_block::stamp(batch.data() + i * mib, index * blocks_of_a_batch + i);
  }
  return batch;
}

// How many steps of count_to() make 10 ms, roughly: the same number is then done with and without.
inline std::size_t steps_of_10_ms() {
  std::size_t steps = 1'000'000;
  auto const begin = now_ns();
  static_cast<void>(count_to(steps));
  auto const each = ns_each(begin, now_ns(), steps);
  return static_cast<std::size_t>(1e7 / each);
}

// Keeps all other processors computing while it is there.
class busy_neighbours {
 public:
  explicit busy_neighbours(unsigned count) {
    for (unsigned i = 0; i < count; ++i)
      threads_.emplace_back([this] {
        while (!over_.load(std::memory_order_relaxed)) static_cast<void>(count_to(100'000));
      });
  }
  ~busy_neighbours() {
    over_ = true;
    for (auto& t : threads_) t.join();
  }
  busy_neighbours(busy_neighbours const&) = delete;
  busy_neighbours& operator=(busy_neighbours const&) = delete;

 private:
  std::atomic<bool> over_{false};
  std::vector<std::thread> threads_{};
};

// Stretches with and without the writing take turns, so that a machine that becomes slower does so for both. Producing the
// text is timed by neither: both do it.
template <class Writer>
sample slowed_by(settings const& s, unsigned neighbours, Writer& writer) {
  constexpr std::size_t stretches = 4;
  auto const rounds = std::max<std::size_t>(s.times(64) / stretches, 2);
  auto const steps = steps_of_10_ms();
  std::int64_t with = 0, without = 0, produced = 0;
  std::vector<double> handed;
  std::uint64_t index = 0;
  {
    busy_neighbours const busy{neighbours};
    for (std::size_t stretch = 0; stretch < stretches; ++stretch) {
      for (std::size_t i = 0; i < rounds; ++i) {
        auto const begin = now_ns();
        require(count_to(steps) == steps, "the loop did not count every step");
        without += now_ns() - begin;
        static_cast<void>(batch_of_text(i));
      }
      for (std::size_t i = 0; i < rounds; ++i) {
        auto const t0 = now_ns();
        require(count_to(steps) == steps, "the loop did not count every step");
        auto const t1 = now_ns();
        std::string batch = batch_of_text(index);
        auto const t2 = now_ns();
        writer.hand_over(std::move(batch), index++);
        auto const t3 = now_ns();
        with += (t1 - t0) + (t3 - t2);
        produced += t2 - t1;
        handed.push_back(ns_each(t2, t3, 1000));
      }
      writer.wait();
    }
  }
  writer.verify(index);
  return {100 * (static_cast<double>(with) / static_cast<double>(without) - 1),
          {{"hand-over us", median(handed)},
           {"worst us", *std::max_element(handed.begin(), handed.end())},
           {"producing ms", ns_each(0, produced, index * 1'000'000)}}};
}

// What a hand-over costs when nothing else is under way.
template <class Writer>
sample handed_over(settings const& s, Writer& writer) {
  auto const count = std::max<std::size_t>(s.times(64), 4);
  std::vector<double> times;
  for (std::uint64_t i = 0; i < count; ++i) {
    std::string batch = batch_of_text(i);
    auto const begin = now_ns();
    writer.hand_over(std::move(batch), i);
    times.push_back(ns_each(begin, now_ns(), 1000));
    writer.wait();
  }
  writer.verify(count);
  return {median(times),
          {{"worst us", *std::max_element(times.begin(), times.end())}, {"p90 us", percentile(times, 90)}}};
}

// The rows: a Writer is made from the settings for each repetition.
template <class Writer>
struct behind {
  static repetition one_core_free(settings const& s) {
    return [s] {
      Writer writer{s};
      return slowed_by(s, 0, writer);
    };
  }
  static repetition all_busy(settings const& s) {
    return [s] {
      Writer writer{s};
      return slowed_by(s, processors() - 1, writer);
    };
  }
  static repetition hand_off(settings const& s) {
    return [s] {
      Writer writer{s};
      return handed_over(s, writer);
    };
  }
};

}  // namespace microbench
