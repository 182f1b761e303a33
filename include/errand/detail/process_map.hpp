// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: process
//
// Many calls of one function in other processes, several to a message: what map and for_each of <errand/process.hpp> are
// made of. The typed part here says how elements become bytes and back; who gets how many is decided in process_map.cpp.
#pragma once

#include <errand/detail/future.hpp>
#include <errand/detail/process_function.hpp>

#include <iterator>
#include <optional>
#include <source_location>
#include <type_traits>
#include <vector>

namespace errand::detail {

/// The typed part derives from it and stays in the frame of map(), which waits for the future of start_process_map() or
/// drops it, and so joins.
struct process_map {
  std::size_t count = 0;
  process_entry entry = nullptr;
  // Both may run the user's code, and throw what it throws.
  void (*lay_out)(process_map const& self, std::size_t first, std::size_t count, process_job& job) = nullptr;
  void (*receive)(process_map& self, std::size_t first, std::size_t count, process_message const& reply) = nullptr;
  bool receives_unlocked = false;
};

/// Ends when all elements are done, or the first failure has stopped the rest. Throws what start_zygote() throws.
[[nodiscard]] future<void> start_process_map(process_map& map, process_pool_core* pool, std::source_location from);

/// R is void where no results are wanted.
template <class R, class F, class Iterator>
class typed_process_map : public process_map {
  using X = std::iter_value_t<Iterator>;
  static constexpr bool gathers = !std::is_void_v<R>;
  struct nothing {};
  using results =
      std::conditional_t<gathers, std::vector<std::optional<std::conditional_t<gathers, R, nothing>>>, nothing>;

 public:
  typed_process_map(F const& f, Iterator first, std::size_t size) : function_{f}, first_{first} {
    if constexpr (gathers) results_.resize(size);
    count = size;
    entry = &run_process_chunk<R, F, X>;
    lay_out = [](process_map const& base, std::size_t from, std::size_t n, process_job& job) {
      auto const& self = static_cast<typed_process_map const&>(base);
      job.target = callee<F>::target(self.function_);
      detail::lay_out(
          job.arguments.pieces, &travels_to_worker, [&](std::size_t bytes) { return job.arguments.room(bytes); },
          [&](byte_writer& to) {
            callee<F>::put(to, self.function_);
            to.give_away(false);
            to.put(n);
            for (std::size_t i = 0; i < n; ++i) to.put<X>(self.at(from + i));
          });
    };
    receive = [](process_map& self, std::size_t from, std::size_t n, process_message const& reply) {
      if constexpr (gathers) {
        byte_reader reader{reply};
        auto& all = static_cast<typed_process_map&>(self).results_;
        for (std::size_t i = 0; i < n; ++i) all[from + i].emplace(reader.get<R>());
        reader.finish();
      }
    };
    if constexpr (gathers) receives_unlocked = !wire<R>::ours;
  }
  auto gather() && {
    std::vector<R> all;
    all.reserve(results_.size());
    for (auto& result : results_) all.push_back(*std::move(result));
    return all;
  }

 private:
  X const& at(std::size_t i) const noexcept { return first_[static_cast<std::iter_difference_t<Iterator>>(i)]; }

  F const& function_;  // of the frame of map()
  Iterator first_;
  [[no_unique_address]] results results_;
};

}  // namespace errand::detail
