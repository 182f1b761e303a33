// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The end of the road: a broken precondition or an impossible answer of the system ends the program with one line that
// names the mistake. Everything that can be reported as an exception is; this is for where nothing can be thrown.
#pragma once

#include <string_view>

namespace errand::detail {

/// Writes "errand: <message>" on stderr and aborts.
[[noreturn]] void fatal(std::string_view message) noexcept;
/// The same for a system call that must not fail: "errand: <operation> failed: <what errno means>".
[[noreturn]] void fatal_os(std::string_view operation, int error) noexcept;
/// One whole line on stderr, "errand: <message>\n", in one write; never throws.
void say(std::string_view message) noexcept;

}  // namespace errand::detail
