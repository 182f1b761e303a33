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
auto start_in_process(std::source_location from, F&& f, Args&&... args) {
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
      lay_out_call<function>(*guard.r, f, std::forward<Args>(args)...);
      prepare_process_job(*guard.r);
      made& r = *std::exchange(guard.r, nullptr);
      begin_outside(r, r);
      auto handle = future_access::make<R>(&r);
      submit_for(r, r);
      return handle;
    }
  }
}

// ---- map -------------------------------------------------------------------------------------------------------------

/// Many calls of one function, several to a message. The typed part derives from it and stays in the frame of map(),
/// which waits for the future of start_process_map() or drops it, and so joins.
struct process_map {
  std::size_t count = 0;
  process_entry entry = nullptr;
  // Both may run the user's code, and throw what it throws.
  void (*lay_out)(process_map const& self, std::size_t first, std::size_t count, process_job& job) = nullptr;
  void (*receive)(process_map& self, std::size_t first, std::size_t count, process_message const& reply) = nullptr;
  bool receives_unlocked = false;
};

/// Ends when all elements are done, or the first failure has stopped the rest. Throws what start_zygote() throws.
[[nodiscard]] future<void> start_process_map(process_map& map, std::source_location from);

template <class R, class F, class Iterator>
class typed_process_map : public process_map {
  using X = std::iter_value_t<Iterator>;

 public:
  typed_process_map(F const& f, Iterator first, std::size_t size) : function_{f}, first_{first}, results_(size) {
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
      byte_reader reader{reply};
      auto& results = static_cast<typed_process_map&>(self).results_;
      for (std::size_t i = 0; i < n; ++i) results[from + i].emplace(reader.get<R>());
      reader.finish();
    };
    receives_unlocked = !wire<R>::ours;
  }
  std::vector<R> gather() && {
    std::vector<R> all;
    all.reserve(results_.size());
    for (auto& result : results_) all.push_back(*std::move(result));
    return all;
  }

 private:
  X const& at(std::size_t i) const noexcept { return first_[static_cast<std::iter_difference_t<Iterator>>(i)]; }

  F const& function_;  // of the frame of map()
  Iterator first_;
  std::vector<std::optional<R>> results_;
};

}  // namespace errand::detail
