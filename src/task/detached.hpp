// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The tasks that nobody holds and that the end of the program must wait for: a set of them, so that what is left can be named; and
// how many there are that it waits for though they are held. Only detach() and those pay for it. The child of a fork begins with
// nothing.
#pragma once

#include <errand/detail/record.hpp>

#include <string>
#include <vector>

namespace errand::detail {

/// Lets go of a record that may be running: it becomes its own owner. By detach(), which sees to it that somebody waits at
/// the end. Throws std::bad_alloc.
void own_itself(record& r);
/// A detached task has ended. By complete(), before the record goes.
void detached_ended(record& r) noexcept;

/// One task that is kept has begun: the program's end waits for it, whoever holds it. One has ended, as its last act.
void await_one_more() noexcept;
void await_one_less() noexcept;

/// The end of a detached task that is done: its error is reported, its handle released.
void release_detached(record& r) noexcept;
/// The same by a worker: where code of the user's must not run.
void release_detached_elsewhere(record& r) noexcept;

/// Called by the thread that waits at the end of the program, before it sleeps and each time it was told of something: what it alone
/// can do for what it waits for. And tells it.
void serve_while_draining(void (*serve)() noexcept) noexcept;
void tell_who_drains() noexcept;

/// Sleeps until no detached task and no kept one is left, or the deadline. `self` and all others on the calling stack do not
/// count: they cannot end while it waits. Returns the names of what was left.
[[nodiscard]] std::vector<std::string> wait_for_detached(std::int64_t deadline, record const* self);

}  // namespace errand::detail
