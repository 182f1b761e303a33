// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "fiber/overflow.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <string_view>
#include <system_error>

#include "base/fork.hpp"
#include "base/lock.hpp"
#include "fiber/slab.hpp"

namespace errand::detail {

namespace {

std::atomic<describe_running> describe_hook{nullptr};

// Tempting: a once_flag. Fails because a child of fork() would inherit it in the midst of the call, and wait for ever.
small_lock installing;
bool installed = false;  // under the lock
[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept { static_cast<void>(installing.break_open()); }};
static_assert(std::atomic<describe_running>::is_always_lock_free, "the signal handler reads it");

// Who handled faults before us. Written once, by the installation; read by the handler.
struct sigaction previous_segv;
struct sigaction previous_bus;

// A line put together without allocating, as a signal handler must.
class report_line {
 public:
  void add(std::string_view text) noexcept {
    const std::size_t fits = std::min(text.size(), sizeof(text_) - length_);
    std::copy_n(text.data(), fits, text_ + length_);
    length_ += fits;
  }

  void add(std::size_t number) noexcept {
    char digits[20];
    char* first = digits + sizeof(digits);
    do {
      *--first = static_cast<char>('0' + number % 10);
    } while ((number /= 10) != 0);
    add(std::string_view(first, static_cast<std::size_t>(digits + sizeof(digits) - first)));
  }

  void add_running_task() noexcept {
    constexpr std::size_t longest_name = 256;
    const std::size_t room = std::min(longest_name, sizeof(text_) - length_);
    const describe_running describe = describe_hook.load(std::memory_order_relaxed);
    const std::size_t written = describe != nullptr ? std::min(describe(text_ + length_, room), room) : 0;
    length_ += written;
    if (written == 0) add("a task");
  }

  void write() const noexcept {
    for (std::size_t done = 0; done < length_;) {
      const ssize_t written = ::write(STDERR_FILENO, text_ + done, length_ - done);
      if (written <= 0) return;  // nobody is left to tell
      done += static_cast<std::size_t>(written);
    }
  }

 private:
  char text_[512];
  std::size_t length_ = 0;
};

void report_overflow(std::size_t stack_bytes) noexcept {
  report_line line;
  line.add("errand: stack overflow in ");
  line.add_running_task();
  line.add(" (");
  line.add(stack_bytes / 1024);
  line.add(" KiB stack; put large local variables on the heap, and bound recursion)\n");
  line.write();
}

// Does with the fault what would have been done without us.
void hand_on(const struct sigaction& previous, int signal, siginfo_t* info, void* context) noexcept {
  const bool is_sent = info->si_code <= 0;  // by kill() or the like: no instruction is going to fault again
  const bool is_information = (previous.sa_flags & SA_SIGINFO) != 0;
  if (!is_information && (previous.sa_handler == SIG_DFL || (previous.sa_handler == SIG_IGN && !is_sent))) {
    struct sigaction ordinary = {};
    ordinary.sa_handler = SIG_DFL;
    ::sigaction(signal, &ordinary, nullptr);
    if (is_sent) ::raise(signal);  // blocked until this handler returns
    return;                        // the faulting instruction runs again and ends the process
  }
  if (!is_information && previous.sa_handler == SIG_IGN) return;
  ::pthread_sigmask(SIG_BLOCK, &previous.sa_mask, nullptr);  // returning from this handler undoes it
  if (is_information) {
    previous.sa_sigaction(signal, info, context);
  } else {
    previous.sa_handler(signal);
  }
}

void handle_fault(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  if (info->si_code > 0) {
    if (std::size_t stack_bytes = size_of_slot_guarded_at(info->si_addr)) report_overflow(stack_bytes);
  }
  errno = saved_errno;
  hand_on(signal == SIGBUS ? previous_bus : previous_segv, signal, info, context);
}

void install_handler() {
  struct sigaction ours = {};
  ours.sa_sigaction = handle_fault;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigemptyset(&ours.sa_mask);
  (void)guard_size();  // computed once, and not first in the handler
  if (::sigaction(SIGSEGV, &ours, &previous_segv) != 0 || ::sigaction(SIGBUS, &ours, &previous_bus) != 0)
    throw std::system_error(errno, std::generic_category(), "errand: cannot install the handler of stack overflows");
}

// Roomy, because the handler we hand on to may print a report of its own.
std::size_t alternate_stack_size() noexcept {
  constexpr std::size_t usual = 64 * 1024;
  const long smallest = ::sysconf(_SC_SIGSTKSZ);
  return smallest > 0 ? std::max(usual, static_cast<std::size_t>(smallest)) : usual;
}

}  // namespace

void set_describe_running(describe_running describe) noexcept {
  describe_hook.store(describe, std::memory_order_relaxed);
}

overflow_guard::overflow_guard() {
  {
    std::lock_guard const held{installing};
    if (!installed) install_handler();
    installed = true;
  }

  stack_t current = {};
  if (::sigaltstack(nullptr, &current) == 0 && (current.ss_flags & SS_DISABLE) == 0) return;

  const std::size_t size = alternate_stack_size();
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED)
    throw std::system_error(errno, std::generic_category(), "errand: cannot map a signal stack for a worker thread");
  stack_t ours = {};
  ours.ss_sp = memory;
  ours.ss_size = size;
  if (::sigaltstack(&ours, nullptr) != 0) {
    const int error = errno;
    ::munmap(memory, size);
    throw std::system_error(error, std::generic_category(), "errand: cannot set a signal stack for a worker thread");
  }
  memory_ = memory;
}

overflow_guard::~overflow_guard() {
  if (memory_ == nullptr) return;
  stack_t none = {};
  none.ss_flags = SS_DISABLE;
  ::sigaltstack(&none, nullptr);
  ::munmap(memory_, alternate_stack_size());
}

}  // namespace errand::detail
