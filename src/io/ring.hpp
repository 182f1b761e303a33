// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The kind of transfer that hands its pieces to the kernel: an io_uring of its own for each transfer in use, recycled. There is
// no thread that polls. Where errand is built without liburing there is none. Called by transfer::make().
#pragma once

#include "io/transfer.hpp"

#include <memory>

namespace errand::detail {

/// Null if no ring can be had: then `error` says why, as an errno. Throws std::bad_alloc.
[[nodiscard]] std::unique_ptr<transfer> make_ring_transfer(unsigned depth, int& error);

/// For the tests: rings that wait to be used again, by this process.
[[nodiscard]] unsigned idle_rings() noexcept;

}  // namespace errand::detail
