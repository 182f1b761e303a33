// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// With options, too, a result that nobody can write is refused; the complaint names its type.
// expect: #include <errand/serialize.hpp>
// errors: 1
// names: set<int
#include <errand/process.hpp>

#include <set>
#include <vector>

using namespace std::chrono_literals;

#ifdef MUST_NOT_COMPILE
using numbers = std::set<int>;
#else
using numbers = std::vector<int>;
#endif

int main() {
  errand::process_how const careful{.on = errand::processes, .timeout = 5s};
  return static_cast<int>(errand::async(careful, [] { return numbers{}; }).get().size());
}
