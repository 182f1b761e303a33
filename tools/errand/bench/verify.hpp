// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// No time is believed before the work is checked: every count, every file's size and all of
// its bytes. The suite calls this after each run, outside the clock; a difference is a
// failure that names the job, and no table is printed.
#pragma once

#include "bench/kernel.hpp"

#include <span>
#include <string>

namespace bench {

// Checks every job's answer and file. Throws failure.
void verify(std::span<job const> jobs, std::span<answer const> answers);

// Checks that two files hold the same bytes. Throws failure naming the first difference.
void verify_same_bytes(std::string const& path, std::string const& expected_path);

}  // namespace bench
