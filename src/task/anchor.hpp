// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The parent of tasks that nobody holds one by one: a record without a body, begun from its making, that hands stops down
// to its members and is told of the end of each. complete() tells it; a task group is one. A member carries the bit
// `member`, its parent_ is the anchor, and its handle is the anchor's to release.
#pragma once

#include <errand/detail/record.hpp>

namespace errand::detail {

struct anchor : record {
  using record::record;

  /// By complete(), when `member` is done: takes over its handle. The anchor stays until the last member has called this.
  virtual void member_ended(record& member) noexcept = 0;
  /// A member's deadline has asked it to stop before it has begun. By the timekeeper, under that member's lock.
  virtual void member_expired() noexcept = 0;

 protected:
  ~anchor() = default;
};

}  // namespace errand::detail
