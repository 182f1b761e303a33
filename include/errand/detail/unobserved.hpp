// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: task
//
// Errors nobody took: an exception that left a task whose future was dropped or detached is not lost. It is reported,
// once, on stderr or to a handler of the program's own.
#pragma once

#include <exception>
#include <source_location>
#include <string_view>

namespace errand {

/// An exception that left a task and that nobody took.
struct unobserved_error {
  std::exception_ptr error;
  std::string_view task;      // its name, or nothing
  std::source_location from;  // the line that started it
};
using unobserved_error_handler = void (*)(unobserved_error const&);

/// Replaces what happens to such errors, once for each: a line on stderr by default, which nullptr brings back. Returns the
/// handler before. The handler runs wherever the task is let go of; it must neither throw nor wait.
unobserved_error_handler set_unobserved_error_handler(unobserved_error_handler handler) noexcept;

}  // namespace errand
