// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The body of switch_stack(), part of fiber/switch.hpp and included by nothing else. It is inline for two reasons:
// the compiler then saves only the registers it really holds something in, and each place that switches gets its own
// branch history, so that the jump is predicted. No instruction pushes or pops, so a red zone below the stack pointer
// survives.
#pragma once

#include "fiber/switch.hpp"

namespace errand::detail {

// The parts of a switch that only the sanitizers need; in switch.cpp.
void note_leak_root(stack& suspending) noexcept;
void drop_leak_root(stack& continued) noexcept;
void forget_frames(stack& unused) noexcept;

// The floating-point control words are the callee's to preserve. Tempting: load them only where the two stacks differ.
// Fails because comparing means waiting for what was just stored, which costs more than loading the same value again
// (docs/decisions/0001-context-switch.md).
[[gnu::always_inline]] inline void exchange_float_control(stack& from, const stack& to) noexcept {
#if defined(__x86_64__)
  __asm__ volatile(
      "stmxcsr %0\n\t"
      "fnstcw %1\n\t"
      "ldmxcsr %2\n\t"
      "fldcw %3"
      : "=m"(from.float_control), "=m"(from.x87_control)
      : "m"(to.float_control), "m"(to.x87_control));
#elif defined(__aarch64__)
  std::uint64_t control;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  from.float_control = static_cast<std::uint32_t>(control);
  // Here the value read is in a register, and comparing is cheap.
  if (from.float_control != to.float_control) [[unlikely]] {
    __asm__ volatile("msr fpcr, %0" : : "r"(std::uint64_t{to.float_control}));
  }
#endif
}

// The exceptions being caught or unwound belong to the stack, but the ABI keeps them with the thread. Calling
// __cxa_get_globals() at each switch would cost more than the switch; the running stack knows its thread's copy instead
// and hands the pointer on.
[[gnu::always_inline]] inline void exchange_exceptions(stack& from, stack& to) noexcept {
  exception_state* current = from.thread_exceptions;
  to.thread_exceptions = current;
  from.caught = current->caught;
  from.uncaught = current->uncaught;
  current->caught = to.caught;
  current->uncaught = to.uncaught;
}

// Leaves `from` and continues `to`; everything the compiler keeps in registers is either named as lost or saved here.
[[gnu::always_inline]] inline void* jump_to_stack(stack& from, stack& to, void* arg) noexcept {
#if defined(__x86_64__)
  register void* passed __asm__("rdi") = arg;
  register stack* leaving __asm__("rsi") = &from;
  register stack* entering __asm__("rdx") = &to;
  __asm__ volatile(
      "leaq 1f(%%rip), %%rax\n\t"
      "movq %%rsp, 0(%%rsi)\n\t"
      "movq %%rax, 8(%%rsi)\n\t"
      "movq %%rbp, 16(%%rsi)\n\t"
      "movq %%rbx, 24(%%rsi)\n\t"
      "movq 0(%%rdx), %%rsp\n\t"
      "movq 16(%%rdx), %%rbp\n\t"
      "movq 24(%%rdx), %%rbx\n\t"
      "jmpq *8(%%rdx)\n"
      "1:\n\t"
#if defined(__CET__) && (__CET__ & 1)
      "endbr64\n\t"
#endif
      : "+r"(passed), "+r"(leaving), "+r"(entering)
      :
      : "rax", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory", "xmm0", "xmm1", "xmm2",
        "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
        "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)"
#if defined(__AVX512F__)
        ,
        "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",
        "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#endif
  );
  return passed;
#elif defined(__aarch64__)
  register void* passed __asm__("x0") = arg;
  register stack* leaving __asm__("x1") = &from;
  register stack* entering __asm__("x2") = &to;
  __asm__ volatile(
      "adr x9, 1f\n\t"
      "mov x10, sp\n\t"
      "stp x10, x9, [x1]\n\t"
      "stp x29, x19, [x1, #16]\n\t"
      "ldp x10, x9, [x2]\n\t"
      "ldp x29, x19, [x2, #16]\n\t"
      "mov sp, x10\n\t"
      "br x9\n"
      "1:\n\t"
      "hint #36\n\t"  // bti j
      : "+r"(passed), "+r"(leaving), "+r"(entering)
      :
      : "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18", "x20",
        "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30", "cc", "memory", "v0", "v1", "v2", "v3", "v4",
        "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20",
        "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31"
#if defined(__ARM_FEATURE_SVE)
        ,
        "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12", "p13", "p14", "p15"
#endif
  );
  return passed;
#else
#error "errand switches stacks on x86-64 and aarch64 only"
#endif
}

// Before the jump under the sanitizers. Inline, because ThreadSanitizer counts the calls and returns of each stack
// and would see this function called on one and returned from on the other. Until the jump nothing instrumented may
// follow it.
[[gnu::always_inline]] inline void announce_switch(stack& from, stack& to, bool comes_back) noexcept {
  if constexpr (address_sanitizer) {
    if (comes_back) note_leak_root(from);
    __sanitizer_start_switch_fiber(comes_back ? &from.fake_stack : nullptr, to.limit,
                                   static_cast<std::size_t>(to.top - to.limit));
  }
  if constexpr (thread_sanitizer) __tsan_switch_to_fiber(to.tsan_fiber, 0);
}

[[gnu::always_inline]] inline void* switch_stack(stack& from, stack& to, void* arg) noexcept {
  exchange_exceptions(from, to);
  exchange_float_control(from, to);
  announce_switch(from, to, true);
  void* received = jump_to_stack(from, to, arg);
  if constexpr (address_sanitizer) {
    __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
    drop_leak_root(from);
  }
  return received;
}

[[gnu::always_inline]] inline void switch_stack_final(stack& from, stack& to, void* arg) noexcept {
  exchange_exceptions(from, to);
  exchange_float_control(from, to);
  announce_switch(from, to, false);
  jump_to_stack(from, to, arg);
  __builtin_trap();
}

[[gnu::always_inline]] inline void abandon_frames(stack& unused) noexcept {
  if constexpr (address_sanitizer || thread_sanitizer) forget_frames(unused);
}

}  // namespace errand::detail
