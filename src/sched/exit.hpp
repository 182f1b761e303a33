// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The end of the program: after main returns, detached tasks are finished, up to a limit; what is left then is said.
// Nothing is torn down: workers sleep on until the process is gone, so no static destructor joins a thread.
#pragma once

namespace errand::detail {

/// Makes the program's normal end hand a worker over if exit() was called on it, and wait for detached tasks. By the first
/// pool. detach() asks for the same once more: so the wait comes while what was built before the first detach() still stands;
/// and again, if destructors detach more after it.
void drain_at_exit() noexcept;
/// That once more, as detach() asks for it: by what begins a task that is kept.
void drain_at_exit_again() noexcept;
/// The end of the program has waited as long as it may, and goes on without what is left: destructors do not wait for it, either.
[[nodiscard]] bool exit_has_given_up() noexcept;
/// Something of what the end of the program waits for gets on, as a large file that is written: it waits its time anew.
void is_getting_on() noexcept;

/// For a module that keeps something back until it is asked for it, as a writer what it has collected: called before the end of
/// the program waits, perhaps several times. With static storage.
class exit_part {
 public:
  using call = void (*)() noexcept;
  explicit exit_part(call before) noexcept;
  exit_part(exit_part const&) = delete;
  exit_part& operator=(exit_part const&) = delete;

  [[nodiscard]] exit_part* next() const noexcept { return next_; }
  call const before;

 private:
  exit_part* const next_;
};

}  // namespace errand::detail
