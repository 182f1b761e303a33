// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What fork() by the program does to errand: nothing in the parent; in the child, which has one thread and whatever state
// the others were in the midst of changing, each module makes what it keeps for the whole process usable again, mostly by
// letting go of it. So no lock need be held over the fork. Why not: docs/decisions/0010-fork.md.
#pragma once

#include <errand/detail/process_generation.hpp>

namespace errand::detail {

/// Names a function that runs in the child of each fork, before any code of the program's. It must not wait, throw, or
/// rely on the others, which run in no particular order. Defined as
///   [[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept { … }};
/// beside what it renews: objects of that priority are there before the program's own.
class in_forked_child {
 public:
  explicit in_forked_child(void (*renew)() noexcept) noexcept;
  in_forked_child(in_forked_child const&) = delete;
  in_forked_child& operator=(in_forked_child const&) = delete;

 private:
  static void renew_all() noexcept;

  void (*renew_)() noexcept;
  in_forked_child const* next_;
};

/// Lives over a fork() by errand itself, of a process with one thread: the child is to find everything as it is.
class own_fork {
 public:
  own_fork() noexcept;
  ~own_fork();
  own_fork(own_fork const&) = delete;
  own_fork& operator=(own_fork const&) = delete;
};

}  // namespace errand::detail
