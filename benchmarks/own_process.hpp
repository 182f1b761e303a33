// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One repetition in a process of its own: the program starts itself anew with the hidden option --repeat, and reads the
// sample from its standard output. For rows in which memory, CPU time or threads of another subject would count too.
#pragma once

#include "harness.hpp"

namespace microbench {

// Throws wrong_result with the text of whatever the other process threw; std::system_error if it could not be started.
[[nodiscard]] sample repeat_in_own_process(subject const& who, settings const& how);

// The other side: repeats the subject once and prints the sample. Returns the exit status.
[[nodiscard]] int repeat_for_parent(std::string const& row, std::string const& name, settings const& how);

}  // namespace microbench
