// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What AddressSanitizer, LeakSanitizer and ThreadSanitizer must be told about stacks that change hands. The runtimes'
// functions are declared here rather than included: their headers are absent where the compiler's runtime package is.
// Callers write `if constexpr (address_sanitizer)` (base/sanitizers.hpp), so that an ordinary build refers to none of
// them. Used by the switch and by the stack pool, by nobody else.
#pragma once

#include <cstddef>

#include "base/sanitizers.hpp"

extern "C" {
void __sanitizer_start_switch_fiber(void** fake_stack_save, const void* bottom, std::size_t size);
void __sanitizer_finish_switch_fiber(void* fake_stack_save, const void** bottom_old, std::size_t* size_old);
void __asan_unpoison_memory_region(void const volatile* addr, std::size_t size);
void __lsan_register_root_region(const void* begin, std::size_t size);
void __lsan_unregister_root_region(const void* begin, std::size_t size);
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
}
