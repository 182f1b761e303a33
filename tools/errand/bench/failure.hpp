// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The one exception of the command: something the user is told in one line, after which
// the command ends with status 2. What it says names the operation, the path or row, and why.
#pragma once

#include <stdexcept>
#include <string>

namespace bench {

class failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// "cannot <what>: <why>", why being the text of an errno.
failure os_failure(std::string const& what, int error);

}  // namespace bench
