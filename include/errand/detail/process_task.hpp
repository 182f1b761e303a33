// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: process
//
// A task that runs in another process, seen from this one: a completion record whose work goes on elsewhere. It counts
// as begun and as waiting at a point of cancellation from its start to its end, so a stop finds a waiter to wake; the
// waking kills. This is one call; process_map.hpp has many that share one record.
#pragma once

#include <errand/detail/future.hpp>
#include <errand/detail/outside_task.hpp>
#include <errand/detail/process_function.hpp>

#include <cstdint>
#include <source_location>
#include <tuple>
#include <utility>

namespace errand::detail {

/// Takes over a record that nobody knows yet, prepares its job and submits it; it may have ended when this returns. Its
/// handle is the caller's then. Throws, and has destroyed it, what prepare_process_job() throws and what options may cost.
void start_process_record(record& r, process_job& job, waiter& on_stop, start_options const* options);

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
auto start_in_process(process_pool_core* pool, std::source_location from, start_options const* options, F&& f,
                      Args&&... args) {
  using function = std::decay_t<F>;
  static_assert(
      std::is_invocable_v<function, std::decay_t<Args>...>,
      "errand: a function for another process is called with copies of these arguments, and cannot be. (It gets "
      "no std::stop_token: a stop kills its process.)");
  using R = std::invoke_result_t<function, std::decay_t<Args>...>;
  check_process_call<R, function, std::decay_t<Args>...>();
  static_cast<void>(&process_hook<>::registered);
  using made = process_record<R, function, std::decay_t<Args>...>;
  made& r = *make_record<made>(from, std::forward<F>(f), std::forward<Args>(args)...);
  r.pool = pool;
  start_process_record(r, r, r, options);
  return future_access::make<R>(&r);
}

}  // namespace errand::detail
