// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: process
//
// One job for a worker process, as both sides see it: `process_call` is what the job's
// function finds in the worker, `process_job` is what the parent keeps until the job has
// ended. Plain structs and function pointers, so that the templates of <errand/process.hpp>
// stay thin and everything behind them is compiled once (src/process/).
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>

namespace errand::detail {

// In the worker. The arguments lie in shared memory and are valid until the call returns.
struct process_call {
  const std::byte* arguments;
  std::size_t argument_size;
  void (*target)();  // the user's function, or null where the entry's type already names it

  // Room for a result of so many bytes; to be called at most once, after the work is done.
  std::byte* (*reply_room)(process_call&, std::size_t bytes);

  // To be called before each element of a map, if not null: a limit of time is one for each.
  void (*element_begins)(process_call&) noexcept;
};

// An instantiation of a template, so that its address tells the worker all types.
using process_entry = void (*)(process_call&);

enum class process_job_end : unsigned char {
  none,       // not yet
  value,      // receive() has been called
  exception,  // `error` holds what the job threw, or why it could not be run
  died,       // `error` holds a process_died
  stopped,    // by stop_process_job
};

struct process_worker;
struct process_pool_core;

struct process_job {
  // ---- The submitter fills these in, and keeps the job alive until finished() is called.
  process_entry entry = nullptr;
  void (*target)() = nullptr;
  std::size_t argument_size = 0;
  const char* name = nullptr;  // of the task, or null; for messages
  const char* file = nullptr;  // the line that started it, or null
  unsigned line = 0;
  unsigned calls = 1;                   // of the user's function, that this one stands for
  process_pool_core* pool = nullptr;    // whose workers it is for, or null: of `processes`

  // Writes exactly argument_size bytes. May be called again if the first worker dies
  // before it has begun the job.
  void (*write_arguments)(const process_job&, std::byte* to) noexcept = nullptr;
  // Called once, before finished(), if the job returned a value. What it throws becomes
  // the job's error. Must be quick and must not call back into the dispatcher.
  void (*receive)(process_job&, const std::byte* from, std::size_t bytes) = nullptr;
  // The last touch: may free the job. Called on an arbitrary thread, under no lock.
  void (*finished)(process_job*) noexcept = nullptr;

  // ---- The outcome, valid inside finished().
  process_job_end end = process_job_end::none;
  std::exception_ptr error;

  // ---- The dispatcher's own, under its lock.
  enum class place : unsigned char { nowhere, queued, sent, done };
  process_job* next = nullptr;
  process_job* previous = nullptr;
  place where = place::nowhere;
  bool stop_wanted = false;           // before submit: it is not to be begun at all
  bool overran = false;               // it was its pool's limit of time that wanted it
  process_worker* worker = nullptr;   // while sent: whose
  std::uint64_t id = 0;               // never zero, never used twice
  std::uint64_t position = 0;         // while sent: of its message in the worker's ring
  std::uint64_t large_arguments = 0;  // where in the shared file, 0: in the ring
  std::uint64_t large_reply = 0;
  std::uint64_t large_reply_size = 0;
  bool large_reply_throws = false;
  std::uint32_t entry_module = 0;
  std::uint32_t target_module = 0;
  std::uint64_t entry_offset = 0;
  std::uint64_t target_offset = 0;
};

// Starts the zygote unless it runs already. Throws std::runtime_error, with advice, if the
// program has other threads by now, std::system_error if the kernel refuses.
void start_zygote();
// The same, and the thread that waits for the workers.
void start_dispatcher();

// Finds the functions and puts large arguments where the workers will read them. Throws, before anything is begun, what
// start_zygote() throws, and std::runtime_error if a function lies in no module that the workers have.
void prepare_process_job(process_job& job);
// A prepared one, once; never waits for a worker. finished() may be called before this returns.
void submit_process_job(process_job& job) noexcept;

// A queued job ends as stopped at once; of a running one the worker is killed. If the job
// ends by itself first, that stands. The caller keeps the job alive over the call.
void stop_process_job(process_job& job) noexcept;

// Called by a thread that is about to wait for a job: takes in replies for a few
// microseconds, as long as that costs nobody else a core. Saves both wake-ups of a hot job.
void help_process_jobs(bool (*enough)(const void*), const void* argument) noexcept;

// As many as the machine grants this process; they are forked when there is work for them.
unsigned process_worker_count() noexcept;
// At a time, in all pools together.
inline constexpr unsigned most_process_workers = 1024;

// Kills the workers, ends the zygote and the dispatcher's thread, closes and unmaps all.
// No job may be under way, and no pool be there. For tests that count what is left over.
void shut_down_processes();

}  // namespace errand::detail
