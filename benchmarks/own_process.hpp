// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One repetition in a process of its own: the program starts itself anew with the hidden option --repeat, and reads the
// sample from its standard output: the cost, then a line "value name" for each fact; or "wrong" and why. For rows in which
// memory, CPU time or threads of another subject would count too.
#pragma once

#include "harness.hpp"

namespace microbench {

// Throws wrong_result with the text of whatever the other process threw; std::system_error if it could not be started.
[[nodiscard]] sample repeat_in_own_process(subject const& who, settings const& how);

// One repetition by another program, for rivals that are no library: the shell starts it, and it prints the sample as below.
// Throws the same.
[[nodiscard]] sample repeat_by_command(std::string const& command);

// The other side: does it once and prints the sample, or what it threw. Returns the exit status.
[[nodiscard]] int print_repetition(repetition const& once);
// The same for one of our subjects, by its name.
[[nodiscard]] int repeat_for_parent(std::string const& row, std::string const& name, settings const& how);

}  // namespace microbench
