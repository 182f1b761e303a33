// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "fiber/switch.hpp"

#include <cxxabi.h>
#include <pthread.h>

#include <atomic>

#include "base/check.hpp"

extern "C" {
// Where a prepared stack begins; the assembly below. It calls the next one with the argument of the switch and what
// prepare() left in `base`; `used`, because link-time optimisation does not see calls from assembly.
void errand_begin_stack() noexcept;
[[noreturn, gnu::used, gnu::visibility("hidden")]] void errand_run_entry(void* arg,
                                                                         errand::detail::stack_entry entry) noexcept;
}

// The bottom frame of every stack. It has no caller: an undefined return address ends a debugger's backtrace here, a
// zero frame pointer ends a profiler's. The stack pointer is aligned as before any call.
#if defined(__x86_64__)
__asm__(
    ".text\n"
    ".p2align 4\n"
    ".globl errand_begin_stack\n"
    ".hidden errand_begin_stack\n"
    ".type errand_begin_stack, @function\n"
    "errand_begin_stack:\n"
    ".cfi_startproc\n"
    ".cfi_undefined rip\n"
    "endbr64\n"
    "xorl %ebp, %ebp\n"
    "movq %rbx, %rsi\n"
    "call errand_run_entry\n"
    "ud2\n"
    ".cfi_endproc\n"
    ".size errand_begin_stack, . - errand_begin_stack\n");
#elif defined(__aarch64__)
__asm__(
    ".text\n"
    ".p2align 4\n"
    ".globl errand_begin_stack\n"
    ".hidden errand_begin_stack\n"
    ".type errand_begin_stack, %function\n"
    "errand_begin_stack:\n"
    ".cfi_startproc\n"
    ".cfi_undefined x30\n"
    "hint #36\n"  // bti j
    "mov x29, xzr\n"
    "mov x30, xzr\n"
    "mov x1, x19\n"
    "bl errand_run_entry\n"
    "brk #1\n"
    ".cfi_endproc\n"
    ".size errand_begin_stack, . - errand_begin_stack\n");
#endif

extern "C" void errand_run_entry(void* arg, errand::detail::stack_entry entry) noexcept {
  if constexpr (errand::detail::address_sanitizer) __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
  entry(arg);
  errand::detail::fatal("the entry function of a stack returned; it has nobody to return to");
}

namespace errand::detail {

namespace {

// What a fresh stack begins with: the floating-point control of the first thread that adopted its stack, so that a
// program's own default (flush to zero, say) holds in its tasks and one task's rounding mode does not leak into the
// next.
struct float_defaults {
  std::atomic<std::uint32_t> control;
  std::atomic<std::uint16_t> x87;
};
#if defined(__x86_64__)
float_defaults defaults{0x1f80, 0x037f};
#else
float_defaults defaults{0, 0};
#endif
std::atomic<bool> defaults_taken{false};

void take_float_defaults() noexcept {
  if (defaults_taken.exchange(true, std::memory_order_relaxed)) return;
#if defined(__x86_64__)
  defaults.control.store(__builtin_ia32_stmxcsr(), std::memory_order_relaxed);
  std::uint16_t x87;
  __asm__ volatile("fnstcw %0" : "=m"(x87));
  defaults.x87.store(x87, std::memory_order_relaxed);
#elif defined(__aarch64__)
  std::uint64_t control;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  defaults.control.store(static_cast<std::uint32_t>(control), std::memory_order_relaxed);
#endif
}

}  // namespace

void prepare(stack& fresh, stack_entry entry) noexcept {
  abandon_frames(fresh);
  fresh.sp = fresh.top;
  fresh.pc = reinterpret_cast<void*>(&errand_begin_stack);
  fresh.frame = nullptr;
  fresh.base = reinterpret_cast<void*>(entry);
  fresh.caught = nullptr;
  fresh.uncaught = 0;
  fresh.float_control = defaults.control.load(std::memory_order_relaxed);
  fresh.x87_control = defaults.x87.load(std::memory_order_relaxed);
  if constexpr (thread_sanitizer) fresh.tsan_fiber = __tsan_create_fiber(0);
}

void adopt_thread_stack(stack& native) noexcept {
  native = stack{};
  take_float_defaults();
  pthread_attr_t attributes;
  void* lowest = nullptr;
  std::size_t size = 0;
  if (int error = pthread_getattr_np(pthread_self(), &attributes); error != 0)
    fatal_os("finding the stack of this thread", error);
  if (int error = pthread_attr_getstack(&attributes, &lowest, &size); error != 0)
    fatal_os("finding the bounds of this thread's stack", error);
  pthread_attr_destroy(&attributes);
  native.limit = static_cast<std::byte*>(lowest);
  native.top = native.limit + size;
  native.thread_exceptions = reinterpret_cast<exception_state*>(abi::__cxa_get_globals());
  if constexpr (thread_sanitizer) native.tsan_fiber = __tsan_get_current_fiber();
}

// While suspended, a stack may hold the only pointer to some memory, in a register that was spilled as much as in a
// variable; the leak check knows only the stacks that run. The red zone lies below the stack pointer.
void note_leak_root(stack& suspending) noexcept {
  if constexpr (address_sanitizer) {
    constexpr std::size_t below = 512;  // this frame, and what the caller may spill between here and the jump
    std::byte* lowest = static_cast<std::byte*>(__builtin_frame_address(0)) - below;
    if (lowest < suspending.limit) lowest = suspending.limit;
    __lsan_register_root_region(lowest, static_cast<std::size_t>(suspending.top - lowest));
    suspending.leak_root = lowest;
  }
}

void drop_leak_root(stack& continued) noexcept {
  if constexpr (address_sanitizer) {
    if (continued.leak_root == nullptr) return;
    auto* lowest = static_cast<std::byte*>(continued.leak_root);
    __lsan_unregister_root_region(lowest, static_cast<std::size_t>(continued.top - lowest));
    continued.leak_root = nullptr;
  }
}

void forget_frames(stack& unused) noexcept {
  if constexpr (address_sanitizer) {
    drop_leak_root(unused);
    // Frames that returned cleaned up after themselves; those that never will left their red zones from sp upwards.
    auto* lowest = static_cast<std::byte*>(unused.sp);
    if (lowest != nullptr) __asan_unpoison_memory_region(lowest, static_cast<std::size_t>(unused.top - lowest));
    unused.sp = unused.top;
  }
  if constexpr (thread_sanitizer) {
    if (unused.tsan_fiber != nullptr) __tsan_destroy_fiber(unused.tsan_fiber);
    unused.tsan_fiber = nullptr;
  }
}

}  // namespace errand::detail
