// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A handle that several share, and what is asked of a record that is done by those who look at more than its value.
#include "task/rare_fields.hpp"
#include "task/references.hpp"

#include <errand/detail/future.hpp>

namespace errand::detail {

namespace {

rare_fields& rare_of(record& r) noexcept { return *r.rare_.load(std::memory_order_acquire); }  // (F1)

}  // namespace

void share(record& r) {
  rare_fields_of(r).shares.store(1, std::memory_order_relaxed);
  r.inplace_allowed_ = false;  // several may wait for it: on the stack of none
}

void add_share(record& r) noexcept { rare_of(r).shares.fetch_add(1, std::memory_order_relaxed); }

bool release_share(record& r) noexcept {
  // (N1) acq_rel: what each did with the result happens before it is destroyed; pairs with every other (N1).
  return rare_of(r).shares.fetch_sub(1, std::memory_order_acq_rel) == 1;
}

void drop_share(record& r) noexcept {
  if (release_share(r)) drop(r);
}

error_list further_errors_of(record& r) {
  auto* const rare = r.rare_.load(std::memory_order_acquire);  // (F1)
  if (rare == nullptr || rare->further_errors.empty()) return {};
  error_list all{rare->further_errors.size()};
  for (std::size_t i = 0; i < all.size(); ++i) all.first_[i] = rare->further_errors[i].error;
  rare->further_errors_taken.store(true, std::memory_order_relaxed);
  return all;
}

}  // namespace errand::detail

namespace errand {

error_list::error_list(std::size_t size) : first_{new std::exception_ptr[size]}, size_{size} {}

void error_list::free() noexcept { delete[] first_; }

}  // namespace errand
