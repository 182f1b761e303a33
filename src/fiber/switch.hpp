// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A stack, the context suspended on it, and the switch from one to another. It exists so that a task can block in any
// function while its worker goes on elsewhere. The scheduler calls it; nothing here knows of tasks. A switch is a
// jump: what the C++ ABI asks a call to preserve is preserved for each stack (registers, floating-point control, the
// state of exceptions in flight); `errno` and the addresses of thread_locals are not, because the stack may be
// continued by another thread. docs/decisions/0001-context-switch.md says why this is our own assembly; README.md
// says who may touch what.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fiber/sanitizer_calls.hpp"

namespace errand::detail {

// The code a fresh stack begins with; `arg` comes from the switch that starts it. It must not return.
using stack_entry = void (*)(void* arg) noexcept;

// The two words that the Itanium C++ ABI keeps for each thread, and we for each stack (__cxa_eh_globals).
struct exception_state {
  void* caught = nullptr;
  unsigned int uncaught = 0;
};

// One stack and, while nobody runs on it, the context suspended there. A pooled stack's descriptor lies at the top of
// its own memory, so that a suspended fiber touches one page. All fields are plain: whoever holds the stack owns
// them, and it is handed on only after the switch away from it, through something that synchronises.
struct alignas(64) stack {
  // The suspended context; switch_stack() writes and reads it. One cache line, and the assembly knows where the first
  // four lie.
  void* sp = nullptr;  // where it continues
  void* pc = nullptr;
  void* frame = nullptr;   // rbp; x29
  void* base = nullptr;    // rbx; x19: which compilers keep for themselves in some functions
  void* caught = nullptr;  // its exception_state
  unsigned int uncaught = 0;
  std::uint32_t float_control = 0;               // mxcsr; fpcr
  exception_state* thread_exceptions = nullptr;  // of the thread that runs here now
  std::uint16_t x87_control = 0;

  stack* next = nullptr;       // a link for whoever owns the stack
  std::byte* limit = nullptr;  // lowest usable address: above the guard
  std::byte* top = nullptr;    // one past the highest usable address
  void* fake_stack = nullptr;  // AddressSanitizer's, while suspended
  void* leak_root = nullptr;   // LeakSanitizer's, while suspended: the lowest address it searches for pointers
  void* tsan_fiber = nullptr;  // ThreadSanitizer's
};

static_assert(offsetof(stack, pc) == 8 && offsetof(stack, frame) == 16 && offsetof(stack, base) == 24);
static_assert(offsetof(stack, next) == 64, "the suspended context fills one cache line");

// Makes the next switch to `fresh` begin entry(arg). Nobody may be running or suspended on it whose frames still
// matter.
void prepare(stack& fresh, stack_entry entry) noexcept;

// Makes `native` describe the calling thread's own stack, so that the thread can switch away from it and back. The
// descriptor lives wherever the caller likes, for as long as the thread switches stacks. The caller must run on that
// stack, and the thread must end on it.
void adopt_thread_stack(stack& native) noexcept;

// Tells the sanitizers that the frames on `unused` will never be continued. release_stack() does it for its caller.
inline void abandon_frames(stack& unused) noexcept;

// Suspends `from`, on which the caller runs, and continues `to`. Returns, perhaps on another thread, when somebody
// switches to `from`, with the `arg` that they pass. `to` must be suspended, or prepared and new.
inline void* switch_stack(stack& from, stack& to, void* arg) noexcept;

// The last switch away from `from`: its frames are abandoned and whoever continues may release it. Only the sanitizers
// notice a difference: a plain switch would leave the fake stack that AddressSanitizer keeps for `from` behind.
[[noreturn]] inline void switch_stack_final(stack& from, stack& to, void* arg) noexcept;

// The bytes left below the caller's frame on `running`, the stack that the caller runs on.
inline std::size_t stack_left(const stack& running) noexcept {
  auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  auto lowest = reinterpret_cast<std::uintptr_t>(running.limit);
  return here > lowest ? here - lowest : 0;
}

// Whether three quarters of `running` are still left below the caller's frame.
inline bool stack_mostly_left(const stack& running) noexcept {
  return stack_left(running) >= static_cast<std::size_t>(running.top - running.limit) / 4 * 3;
}

}  // namespace errand::detail

#include "fiber/switch_inline.hpp"
