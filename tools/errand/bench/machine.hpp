// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the figures were measured on: without it a table of seconds means nothing.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace bench {

// Name and value of each fact: processor, cores, kernel, compiler, errand's version and commit.
std::vector<std::pair<std::string, std::string>> describe_machine();

// Cores this process may run on.
int available_cores();

}  // namespace bench
