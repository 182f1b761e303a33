// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Cycles of waits: a wait that closes one would never end, and is refused. arm() asks, once the wait can be seen by
// others; disarm() makes sure that no search still looks into the frame that waited. README.md, "Cycles".
#pragma once

#include "task/stop.hpp"

#include <errand/detail/record.hpp>

namespace errand::detail {

/// The wait of q.self, hooked and shown, for q.awaited: if that waits for q.self, and nothing but their own ends could end
/// the waits of all who have a part in it, then the waiter is claimed, q.deadlock says so, and the answer is true.
[[nodiscard]] bool refuse_if_cycle(waiter& w, wait_request& q) noexcept;

/// After a wait that was shown has been taken back (S2): whoever has seen it looks at it no more.
void let_searches_leave() noexcept;

}  // namespace errand::detail
