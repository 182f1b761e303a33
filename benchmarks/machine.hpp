// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where figures come from: processor, kernel, compiler, commit, and which rivals this program was built with.
#pragma once

#include <string>

namespace microbench {

[[nodiscard]] unsigned processors();  // that this process may use
[[nodiscard]] std::string machine_text();

}  // namespace microbench
