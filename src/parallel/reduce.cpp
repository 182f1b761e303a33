// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <errand/detail/reduce.hpp>

#include <algorithm>

namespace errand::detail {

std::vector<partial_result*> in_order(partial_result* list) {
  std::vector<partial_result*> all;
  for (; list != nullptr; list = list->next) all.push_back(list);
  std::sort(all.begin(), all.end(), [](auto const* a, auto const* b) { return a->begin < b->begin; });
  return all;
}

}  // namespace errand::detail
