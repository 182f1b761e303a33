// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whether this build runs under a sanitizer: the few places that must behave differently ask here.
#pragma once

namespace errand::detail {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool address_sanitizer = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool address_sanitizer = true;
#else
inline constexpr bool address_sanitizer = false;
#endif
#else
inline constexpr bool address_sanitizer = false;
#endif

#if defined(__SANITIZE_THREAD__)
inline constexpr bool thread_sanitizer = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool thread_sanitizer = true;
#else
inline constexpr bool thread_sanitizer = false;
#endif
#else
inline constexpr bool thread_sanitizer = false;
#endif

/// A sanitizer that must see every allocation and release.
inline constexpr bool sanitized_memory = address_sanitizer || thread_sanitizer;

}  // namespace errand::detail
