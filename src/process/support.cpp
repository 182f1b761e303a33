// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What there is once per program: the list of modules, the shared file, the zygote, and from the first job on
// the dispatcher. Made as a whole and never destroyed, except by tests. In a child that the program forks by itself all
// of it is the parent's: the child lets go of it and may make its own.
#include <dirent.h>
#include <sys/single_threaded.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <errand/detail/process_job.hpp>
#include <errand/process.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <system_error>

#include "base/cpu_count.hpp"
#include "base/fork.hpp"
#include "base/sanitizers.hpp"
#include "process/dispatcher.hpp"
#include "process/support.hpp"
#include "sched/exit.hpp"
#include "sched/outside.hpp"
#include "sched/threads.hpp"

namespace errand::detail {

namespace {

struct process_world {
  module_list modules = module_list::of_this_process();
  std::shared_ptr<shared_memory> memory = std::make_shared<shared_memory>(memory_file::create());
  zygote origin = zygote::start({memory->file.fd(), &modules});
  owner_ptr<arena> own{new arena{memory, memory_file::argument_slot, nullptr}};  // for arguments
  std::once_flag jobs_made;
  std::optional<dispatcher> jobs;
};

// Written while there is one thread only, so there is no lock. (P1) release and (P2) acquire pair all the same, for
// threads that were started by other means than those that order memory.
std::atomic<process_world*> world{nullptr};
// The same, once it has a dispatcher. (P3) release when it is there; pairs with (P3) of those who only look.
std::atomic<process_world*> begun{nullptr};

// Threads that have ended leave glibc's flag behind, hence the second look. Without /proc the flag decides.
bool single_threaded() noexcept {
  if (__libc_single_threaded) return true;
  DIR* const tasks = ::opendir("/proc/self/task");
  if (tasks == nullptr) return false;
  int count = 0;
  while (dirent const* const entry = ::readdir(tasks))
    if (entry->d_name[0] != '.') ++count;
  ::closedir(tasks);
  // ThreadSanitizer has a thread of its own, which takes no lock of the program's.
  return count <= (thread_sanitizer ? 2 : 1);
}

// Why the zygote could not be forked before errand's first thread; null if it could. Written before that thread starts.
constinit std::exception_ptr const* early_failure = nullptr;

// In the child of a fork by the program.
[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept {
  early_failure = nullptr;  // there is one thread again
  registered_outside_work.store(nullptr, std::memory_order_relaxed);
  process_world* const parents = world.exchange(nullptr, std::memory_order_relaxed);
  begun.store(nullptr, std::memory_order_relaxed);
  if (parents == nullptr) return;
  // The socket above all: while a copy of it is open, the zygote would not see the parent close it. The rest of the
  // object stays as it is: its lock and its thread belong to nobody here.
  parents->origin.forget();
  parents->memory->file.forget();
}};

// The end of the program waits, for so long, until the zygote has passed on what jobs have written to stderr.
constexpr std::chrono::milliseconds farewell{2000};

// Built before all that the program has of static storage, so gone after it: what runs at the program's end may use processes.
struct last_act {
  constexpr last_act() noexcept = default;
  ~last_act() {
    process_world* const w = world.load(std::memory_order_acquire);  // (P2)
    if (w == nullptr) return;
    if (begun.load(std::memory_order_acquire) == w) w->jobs->leave();  // (P3)
    w->origin.let_go(farewell);
  }
};
[[gnu::init_priority(101)]] last_act const at_last;

constexpr outside_work outside{
    &help_process_jobs,
    [](std::atomic<std::uint32_t> const& woken, std::int64_t deadline) noexcept {
      process_world* const w = begun.load(std::memory_order_acquire);  // (P3)
      return w != nullptr && w->jobs->sleep(woken, deadline);
    },
    [](std::atomic<std::uint32_t> const* woken) noexcept {
      process_world* const w = begun.load(std::memory_order_acquire);  // (P3)
      if (w != nullptr) w->jobs->wake(woken);
    },
};

// Tempting: a lock, so that two threads may come here at once. Fails because the zygote would inherit it locked; and if
// there are two threads, it is too late anyway.
process_world& make_world() {
  if (early_failure != nullptr) std::rethrow_exception(*early_failure);
  if (!single_threaded())
    throw std::runtime_error(
        "errand: worker processes must be prepared before the program starts its first thread, and it has others "
        "already: put `errand::process_support processes_first;` at the top of main");
  auto* const made = new process_world;
  // A worker that uses processes itself goes on making its results where they can be sent from.
  if (arena_of_process() == nullptr) set_arena_of_process(made->own.get(), false);
  world.store(made, std::memory_order_release);  // (P1)
  return *made;
}

process_world& the_world() {
  process_world* const made = world.load(std::memory_order_acquire);  // (P2)
  return made != nullptr ? *made : make_world();
}

dispatcher& the_dispatcher() {
  if (process_world* const w = begun.load(std::memory_order_acquire); w != nullptr) return *w->jobs;  // (P3)
  process_world& w = the_world();
  std::call_once(w.jobs_made, [&] {
    w.jobs.emplace(w.origin, w.memory, w.modules, process_worker_count());
    begun.store(&w, std::memory_order_release);                          // (P3)
    registered_outside_work.store(&outside, std::memory_order_release);  // (O1)
  });
  return *w.jobs;
}

}  // namespace

bool travels_to_worker(arena_piece const& piece) noexcept {
  process_world const* const w = world.load(std::memory_order_acquire);  // (P2)
  return w != nullptr && piece.owner != nullptr && piece.owner->is_in(*w->memory);
}

std::byte* process_payload::room(std::size_t bytes) {
  large_.reset();
  more_.resize(bytes > sizeof here_ && bytes <= inline_limit ? bytes : 0);
  if (bytes > inline_limit) large_ = piece_ref{the_world().own->allocate(bytes)};
  size_ = bytes;
  return large_ ? large_->data : more_.empty() ? here_ : more_.data();
}

void process_payload::clear() noexcept {
  pieces.clear();
  large_.reset();
  more_.clear();
  size_ = 0;
}

bool prepare_before_first_thread() noexcept {
  before_first_thread([]() noexcept {
    try {
      start_zygote();
    } catch (...) {
      early_failure = new std::exception_ptr(std::current_exception());
    }
  });
  return true;
}

void start_zygote() { the_world(); }

void start_dispatcher() { the_dispatcher(); }

process_pool_core& make_process_pool(unsigned workers, process_limits const& limits) {
  return the_dispatcher().add_pool(workers, limits);
}

// A pool of static storage, some of whose jobs the end of the program does not wait for any more, is left to the end of its
// workers, which comes with that of the program.
void end_process_pool(process_pool_core& pool) noexcept {
  if (exit_has_given_up()) return;
  process_world* const w = world.load(std::memory_order_acquire);  // (P2)
  if (w != nullptr && pool.born_in == process_generation) w->jobs->end_pool(pool);
}

process_statistics statistics_of(process_pool_core* pool) noexcept {
  process_world* const w = world.load(std::memory_order_acquire);  // (P2)
  return w != nullptr && begun.load(std::memory_order_acquire) == w ? w->jobs->statistics(pool) : process_statistics{};  // (P3)
}

void prepare_process_job(process_job& job) { the_dispatcher().prepare(job); }

void submit_process_job(process_job& job) noexcept { the_dispatcher().submit(job); }

void stop_process_job(process_job& job) noexcept {
  // Acquire as (P2). In the child of a fork the job is the parent's.
  process_world* const w = world.load(std::memory_order_acquire);
  if (w != nullptr) w->jobs->stop(job);
}

void help_process_jobs(bool (*enough)(void const*), void const* argument) noexcept {
  process_world* const w = world.load(std::memory_order_acquire);  // (P2)
  if (w != nullptr) w->jobs->help(enough, argument);
}

unsigned process_worker_count() noexcept {
  static constinit std::atomic<unsigned> known{0};
  unsigned count = known.load(std::memory_order_relaxed);
  if (count == 0) {
    count = std::min(default_worker_count(), most_process_workers);
    known.store(count, std::memory_order_relaxed);
  }
  return count;
}

void shut_down_processes() {
  process_world* const made = world.exchange(nullptr, std::memory_order_acq_rel);  // (P2)
  if (made == nullptr) return;
  registered_outside_work.store(nullptr, std::memory_order_relaxed);
  begun.store(nullptr, std::memory_order_relaxed);
  made->jobs.reset();
  if (arena_of_process() == made->own.get()) set_arena_of_process(nullptr, false);
  made->origin.end();
  delete made;
}

}  // namespace errand::detail
