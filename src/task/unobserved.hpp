// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Exceptions that left a task and that nobody took: reported once, when the last reference to the task goes. And how
// messages name a task: by its name and the line that started it.
#pragma once

#include <errand/detail/record.hpp>

#include <string>

namespace errand::detail {

/// `task "fetch" (main.cpp:12)`, with what is known of it.
[[nodiscard]] std::string describe(record const& r);
/// The same into a buffer, for a signal handler: no allocation, no lock. Returns the length.
std::size_t describe_into(record const& r, char* buffer, std::size_t size) noexcept;

/// Hands the record's error to the handler in force.
void report_unobserved(record& r) noexcept;
/// How many errors were reported so far.
[[nodiscard]] std::uint64_t unobserved_count() noexcept;

/// What an exception says: its what() and its type.
[[nodiscard]] std::string text_of(std::exception_ptr const& error);

}  // namespace errand::detail
