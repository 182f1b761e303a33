// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How an exception crosses from a worker to the parent: as bytes that name its type and carry its text. Standard types
// are rebuilt as themselves, all others arrive as remote_error.
#pragma once

#include <cstddef>
#include <exception>
#include <string>

namespace errand::detail {

// In the worker, inside a catch block. Throws std::bad_alloc.
std::string describe_current_exception();

// In the parent. Bytes that make no sense become a remote_error that says so. Throws std::bad_alloc.
std::exception_ptr rebuild_exception(std::byte const* from, std::size_t bytes);

}  // namespace errand::detail
