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

struct further_error;

/// Hands an error to the handler in force: the record's, or another one that it stood for.
void report_unobserved(record& r) noexcept;
void report_unobserved(further_error const& e) noexcept;

/// The error of `r`, for one that stands for it to report if nobody takes it.
[[nodiscard]] further_error further_error_of(record& r);
/// How many errors were reported so far.
[[nodiscard]] std::uint64_t unobserved_count() noexcept;

/// What an exception says: its what() and its type.
[[nodiscard]] std::string text_of(std::exception_ptr const& error);

}  // namespace errand::detail
