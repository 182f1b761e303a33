// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From a coroutine's flow of control to the record of its task and back. They lie one behind the other in one block, which
// coroutine_record sees to; a pointer from one to the other would cost each suspended coroutine eight bytes.
#pragma once

#include <errand/detail/coroutine.hpp>

#include <new>

namespace errand::detail {

static_assert(sizeof(coroutine_flow) == room_of_flow && alignof(record) <= alignof(coroutine_flow), "a million of them may wait");

[[nodiscard]] inline record& task_of(coroutine_flow& f) noexcept {
  return *std::launder(reinterpret_cast<record*>(reinterpret_cast<std::byte*>(&f) + sizeof(coroutine_flow)));
}
/// Of a task that is a coroutine.
[[nodiscard]] inline coroutine_flow& flow_of(record& task) noexcept {
  return *std::launder(reinterpret_cast<coroutine_flow*>(reinterpret_cast<std::byte*>(&task) - sizeof(coroutine_flow)));
}

/// The task whose running coroutine `frame` is; null if it is somebody else's, or was resumed by somebody else.
[[nodiscard]] record* task_of_running(void* frame) noexcept;

}  // namespace errand::detail
