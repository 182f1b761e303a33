// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/failure.hpp"

#include <system_error>

namespace bench {

failure os_failure(std::string const& what, int error) {
  return failure("cannot " + what + ": " + std::generic_category().message(error));
}

}  // namespace bench
