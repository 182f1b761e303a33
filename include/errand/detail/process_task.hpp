// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: process
//
// A task that runs in another process, seen from this one: a completion record whose work goes on elsewhere. It counts
// as begun and as waiting at a point of cancellation from its start to its end, so a stop finds a waiter to wake; the
// waking kills. `process_record` is one call, `process_map` is many that share one record.
#pragma once

#include <errand/detail/future.hpp>
#include <errand/detail/outside_task.hpp>
#include <errand/detail/process_function.hpp>

#include <iterator>
#include <optional>
#include <vector>

namespace errand::detail {

/// Submits the prepared job; a stop that came before it could reach it is repeated.
void submit_for(record& r, process_job& job) noexcept;

/// Registers the zygote's start before errand's first thread. From a static initialiser; returns true.
bool prepare_before_first_thread() noexcept;

/// Instantiated by whoever names `registered`: a program that never uses processes forks nothing.
template <class = void>
struct process_hook {
  static inline bool const registered = prepare_before_first_thread();
};

template <class R, class F, class... Args>
struct process_record final : result_record<R>, process_job, waiter {
  template <class... From>
  process_record(std::source_location from, F f, From&&... args)
      : result_record<R>{&act, from}, arguments_{std::forward<From>(args)...} {
    entry = &run_process_call<R, F, Args...>;
    name_callee(*this, f);
    file = from.file_name();
    line = from.line();
    argument_size =
        std::apply([](auto const&... each) { return (std::size_t{0} + ... + sent_bytes(each)); }, arguments_);
    write_arguments = [](process_job const& job, std::byte* to) noexcept {
      byte_writer writer{to};
      std::apply([&](auto const&... each) { (writer.put(each), ...); },
                 static_cast<process_record const&>(job).arguments_);
    };
    receive = [](process_job& job, std::byte const* reply, std::size_t bytes) {
      static_cast<process_record&>(job).set_value_from([&]() -> R {
        if constexpr (!std::is_void_v<R>) return byte_reader{reply, bytes}.template get<R>();
      });
    };
    finished = [](process_job* job) noexcept {
      auto& self = static_cast<process_record&>(*job);
      self.stopped_ = self.end == process_job_end::stopped;
      self.error_ = std::move(self.error);
      end_outside(self, self);
    };
    wake = [](waiter* self) noexcept { stop_process_job(static_cast<process_record&>(*self)); };
  }

 private:
  static bool act(record* base, record_verb verb) noexcept {
    auto* const self = static_cast<process_record*>(base);
    if (verb == record_verb::drop) self->drop_value();
    if (verb == record_verb::destroy) {
      self->~process_record();
      deallocate_record(self, sizeof(process_record));
    }
    return true;  // it runs elsewhere, and is never stopped unrun
  }

  std::tuple<Args...> arguments_;
};

template <class F, class... Args>
auto start_in_process(std::source_location from, F&& f, Args&&... args) {
  using function = std::decay_t<F>;
  static_assert(
      std::is_invocable_v<function, std::decay_t<Args>...>,
      "errand: a function for another process is called with copies of these arguments, and cannot be. (It gets "
      "no std::stop_token: a stop kills its process.)");
  using R = std::invoke_result_t<function, std::decay_t<Args>...>;
  check_process_call<R, function, std::decay_t<Args>...>();
  static_cast<void>(&process_hook<>::registered);
  using made = process_record<R, function, std::decay_t<Args>...>;
  struct unbegun {
    made* r;
    ~unbegun() {
      if (r != nullptr) r->act_(r, record_verb::destroy);
    }
  } guard{make_record<made>(from, std::forward<F>(f), std::forward<Args>(args)...)};
  prepare_process_job(*guard.r);
  made& r = *std::exchange(guard.r, nullptr);
  begin_outside(r, r);
  auto handle = future_access::make<R>(&r);
  submit_for(r, r);
  return handle;
}

// ---- map -------------------------------------------------------------------------------------------------------------

/// Many calls of one function, several to a message. The typed part derives from it and stays in the frame of map(),
/// which waits for the future of start_process_map() or drops it, and so joins.
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
[[nodiscard]] future<void> start_process_map(process_map& map, std::source_location from);

template <class R, class F, class Iterator>
class typed_process_map : public process_map {
  using X = std::iter_value_t<Iterator>;

 public:
  typed_process_map(F const& f, Iterator first, std::size_t size) : first_{first}, results_(size) {
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
      byte_reader reader{bytes, size_of_bytes};
      auto& results = static_cast<typed_process_map&>(self).results_;
      for (std::size_t i = 0; i < n; ++i) results[from + i].emplace(reader.get<R>());
    };
  }
  std::vector<R> gather() && {
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
  std::vector<std::optional<R>> results_;
};

}  // namespace errand::detail
