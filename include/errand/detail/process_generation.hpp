// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: base
//
// Which process this is, counted in forks. Records and pools note the number at their making; where it differs later, they
// were inherited from a parent process and are only a picture of what goes on there.
#pragma once

#include <cstdint>

namespace errand::detail {

/// Counts up in the child of each fork() by the program, while there is one thread; constant otherwise. (base/fork.cpp)
extern std::uint32_t process_generation;

}  // namespace errand::detail
