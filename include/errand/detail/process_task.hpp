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

template <class R>
struct process_record final : result_record<R>, process_job, waiter {
  process_record(std::source_location from, process_entry what) : result_record<R>{&act, from} {
    entry = what;
    file = from.file_name();
    line = from.line();
    receive = [](process_job& job, process_message const& reply) {
      static_cast<process_record&>(job).set_value_from([&]() -> R {
        if constexpr (!std::is_void_v<R>) return read_reply<R>(reply);
      });
    };
    if constexpr (!std::is_void_v<R>) receives_unlocked = !wire<R>::ours;
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
};

/// What f must be able to be called with, or else a sentence. False after it has said so.
template <class F, class... Args>
constexpr bool check_process_arguments() {
  static_assert(std::is_invocable_v<F, Args...>,
                "errand: a function for another process is called with copies of these arguments, and cannot be. (It gets "
                "no std::stop_token: a stop kills its process.)");
  return std::is_invocable_v<F, Args...>;
}

template <class F, class... Args>
auto start_in_process(process_pool_core* pool, std::source_location from, start_options const* options, F&& f,
                      Args&&... args) {
  using function = std::decay_t<F>;
  if constexpr (!check_process_arguments<function, std::decay_t<Args>...>()) {
    return future<void>{};
  } else {
    using R = std::remove_cv_t<kept_result<std::invoke_result_t<function, std::decay_t<Args>...>>>;
    if constexpr (!check_process_call<R, function, std::decay_t<Args>...>()) {
      return future<std::decay_t<R>>{};  // so that the sentence above is all that is said
    } else {
      static_cast<void>(&process_hook<>::registered);
      using made = process_record<R>;
      start_dispatcher();
      struct unbegun {
        made* r;
        ~unbegun() {
          if (r != nullptr) r->act_(r, record_verb::destroy);
        }
      } guard{make_record<made>(from, &run_process_call<R, function, std::decay_t<Args>...>)};
      guard.r->pool = pool;
      lay_out_call<function>(*guard.r, f, std::forward<Args>(args)...);
      made& r = *std::exchange(guard.r, nullptr);
      start_process_record(r, r, r, options);
      return future_access::make<R>(&r);
    }
  }
}

}  // namespace errand::detail
