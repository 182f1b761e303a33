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
  void (*target)() = nullptr;
  std::size_t (*argument_size)(process_map const& self, std::size_t first, std::size_t count) = nullptr;
  void (*write_arguments)(process_map const& self, std::size_t first, std::size_t count,
                          std::byte* to) noexcept = nullptr;
  void (*receive)(process_map& self, std::size_t first, std::size_t count, std::byte const* from,
                  std::size_t bytes) = nullptr;
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
  typed_process_map(F const& f, Iterator first, std::size_t size) : first_{first} {
    if constexpr (gathers) results_.resize(size);
    count = size;
    entry = &run_process_chunk<R, F, X>;
    if constexpr (is_function_pointer<F>) target = reinterpret_cast<void (*)()>(f);
    argument_size = [](process_map const& self, std::size_t from, std::size_t n) {
      std::size_t bytes = sizeof n;
      for (std::size_t i = 0; i < n; ++i) bytes += sent_bytes<X>(at(self, from + i));
      return bytes;
    };
    write_arguments = [](process_map const& self, std::size_t from, std::size_t n, std::byte* to) noexcept {
      byte_writer writer{to};
      writer.put(n);
      for (std::size_t i = 0; i < n; ++i) writer.put<X>(at(self, from + i));
    };
    receive = [](process_map& self, std::size_t from, std::size_t n, std::byte const* bytes,
                 std::size_t size_of_bytes) {
      if constexpr (gathers) {
        byte_reader reader{bytes, size_of_bytes};
        auto& all = static_cast<typed_process_map&>(self).results_;
        for (std::size_t i = 0; i < n; ++i) all[from + i].emplace(reader.get<R>());
      }
    };
  }
  auto gather() && {
    std::vector<R> all;
    all.reserve(results_.size());
    for (auto& result : results_) all.push_back(*std::move(result));
    return all;
  }

 private:
  static X const& at(process_map const& self, std::size_t i) noexcept {
    return static_cast<typed_process_map const&>(self).first_[static_cast<std::iter_difference_t<Iterator>>(i)];
  }

  Iterator first_;
  [[no_unique_address]] results results_;
};

}  // namespace errand::detail
