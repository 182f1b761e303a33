// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Values to worker processes and back: what turning them into bytes costs, what a round trip does, and results of 100 MiB.
#include "process_values.hpp"

#include <errand/process.hpp>
#include <errand/serialize.hpp>
#include <errand/shared_vector.hpp>

#include <array>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace microbench {

namespace {

struct plain {
  std::array<double, 8> of{1, 2, 3, 4, 5, 6, 7, 8};
  bool operator==(plain const&) const = default;
};
struct small {
  std::string name = "a name of some length";
  std::vector<int> numbers{1, 2, 3, 4};
  std::map<int, std::string> more{{1, "one"}, {2, "two"}};
  bool operator==(small const&) const = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, numbers, more);
  }
};

// Into bytes and out again, as a call does it, but in one process.
template <class T>
repetition turned(settings const& s) {
  return [n = s.times(200'000)] {
    T const value;
    std::size_t right = 0;
    errand::detail::process_payload bytes;
    auto const begin = now_ns();
    for (std::size_t i = 0; i < n; ++i) {
      errand::detail::lay_out(
          bytes.pieces, [](errand::detail::arena_piece const&) { return false; },
          [&](std::size_t size) { return bytes.room(size); }, [&](errand::detail::byte_writer& to) { to.put(value); });
      auto const back = errand::detail::read_reply<T>({bytes.data(), bytes.size(), nullptr, 0});
      right += back == value ? 1U : 0U;
    }
    auto const end = now_ns();
    require(right == n, "a value is not what was written");
    return sample{ns_each(begin, end, n)};
  };
}

template <class T>
T same(T value) {
  return value;
}

template <class T>
repetition there_and_back(settings const& s) {
  return [n = s.times(20'000)] {
    T const value;
    for (int i = 0; i < 1000; ++i) (void)errand::async(errand::processes, &same<T>, value).get();
    std::size_t right = 0;
    auto const begin = now_ns();
    for (std::size_t i = 0; i < n; ++i)
      right += errand::async(errand::processes, &same<T>, value).get() == value ? 1U : 0U;
    auto const end = now_ns();
    require(right == n, "a value is not what was sent");
    return sample{ns_each(begin, end, n) / 1000};
  };
}

template <class Container>
std::tuple<std::int64_t, Container> made(std::size_t count, number round) {
  Container numbers(count);
  fill(numbers, round);
  return {now_ns(), std::move(numbers)};
}
using in_place = errand::shared_vector<number>;

template <class Container>
repetition large(settings const& s) {
  return [s] {
    return median_on_its_way(s, [&](number round) {
      auto const count = large_count(s);
      auto const [ready, numbers] = errand::async(errand::processes, &made<Container>, count, round).get();
      auto const got = now_ns();
      require_filled(numbers, count, round);
      return got - ready;
    });
  };
}

std::tuple<std::int64_t, std::string> made_string(std::size_t count, number round) {
  std::vector<number> numbers(count);
  fill(numbers, round);
  std::string text(reinterpret_cast<char const*>(numbers.data()), count * sizeof(number));
  return {now_ns(), std::move(text)};
}
repetition large_string(settings const& s) {
  return [s] {
    return median_on_its_way(s, [&](number round) {
      auto const count = large_count(s);
      auto const [ready, text] = errand::async(errand::processes, &made_string, count, round).get();
      auto const got = now_ns();
      require(text.size() == count * sizeof(number), "a large result has another size");
      std::vector<number> numbers(count);
      std::memcpy(numbers.data(), text.data(), text.size());
      require_filled(numbers, count, round);
      return got - ready;
    });
  };
}

repetition large_argument(settings const& s) {
  return [s] {
    return median_on_its_way(s, [&](number round) {
      auto const count = large_count(s);
      (void)errand::async(errand::processes, &same<int>, 0).get();  // from here on there is shared memory
      in_place numbers(count);
      fill(numbers, round);
      auto const ready = now_ns();
      auto const [got, right] = errand::async(
                                    errand::processes,
                                    [](in_place const& mine, std::size_t wanted, number which) {
                                      auto const begun = now_ns();
                                      require_filled(mine, wanted, which);
                                      return std::pair{begun, true};
                                    },
                                    std::move(numbers), count, round)
                                    .get();
      require(right, "the argument was not read");
      return got - ready;
    });
  };
}

constexpr auto own = place::own_process;
add const turned_plain{"process-serialise", role::ours, "64 bytes, trivially copyable", &turned<plain>, own};
add const turned_string{"process-serialise", role::ours, "a string, a vector and a map, by cereal", &turned<small>, own};
add const hot_plain{"process-values", role::ours, "64 bytes, trivially copyable", &there_and_back<plain>, own};
add const hot_small{"process-values", role::ours, "a string, a vector and a map, by cereal", &there_and_back<small>, own};
add const large_place{"process-large", role::ours, "shared_vector, in place", &large<in_place>, own};
add const large_there{"process-large", role::ours, "shared_vector, an argument in place", &large_argument, own};
add const large_text{"process-large", role::ours, "std::string", &large_string, own};
add const large_vector{"process-large", role::ours, "std::vector", &large<std::vector<number>>, own};

}  // namespace

}  // namespace microbench
