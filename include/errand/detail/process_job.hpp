// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: process
//
// One job for a worker process, as both sides see it: `process_call` is what the job's function finds in the worker,
// `process_job` is what the parent keeps until the job has ended; what passes between them is a `process_payload` at its
// sender and a `process_message` at its receiver. Plain structs and function pointers, so that the templates of
// <errand/process.hpp> stay thin and everything behind them is compiled once (src/process/).
#pragma once

#include <errand/detail/arena_piece.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>

namespace errand::detail {

class lent_memory;

// Arguments or a result as they have arrived: bytes at a multiple of 16, and pieces of shared memory beside them.
struct process_message {
  const std::byte* bytes;
  std::size_t size;
  piece_ref* pieces;
  std::size_t piece_count;
};

// Arguments on their way: laid out when the job is made, sent as often as need be. Small ones are here, others in a piece
// of shared memory.
class process_payload {
 public:
  process_payload() = default;
  process_payload(const process_payload&) = delete;
  process_payload& operator=(const process_payload&) = delete;

  // Room for so many bytes instead of what was there. start_dispatcher() must have been called. Throws std::bad_alloc,
  // or std::system_error if there is no more shared memory.
  std::byte* room(std::size_t bytes);
  const std::byte* data() const noexcept {
    return large_ ? large_->data : more_.empty() ? here_ : more_.data();
  }
  std::size_t size() const noexcept { return size_; }
  // Where it lies if not here; or null.
  const arena_piece* large() const noexcept { return large_.get(); }
  // Nothing is there; the shared memory is given back.
  void clear() noexcept;

  piece_list pieces;  // that go along

 private:
  std::size_t size_ = 0;
  piece_ref large_;
  std::vector<std::byte> more_;
  alignas(16) std::byte here_[64];
};

// In the worker. The arguments lie in shared memory and are valid until the call returns.
struct process_call {
  process_message arguments;
  void (*target)();  // the user's function, or null where the entry's type already names it

  // Room for a result of so many bytes, after the work is done; those pieces go along. The last call counts.
  std::byte* (*reply_room)(process_call&, std::size_t bytes);
  // To be called before each element of a map, if not null: a limit of time is one for each.
  void (*element_begins)(process_call&) noexcept;
  piece_list reply_pieces;
};

// Whether a piece can go with a message as it is: from here to a worker; from this worker to the process it works for.
bool travels_to_worker(const arena_piece& piece) noexcept;
bool travels_to_parent(const arena_piece& piece) noexcept;

// Where bytes lie in the shared file: `size` of them at the beginning of a piece.
struct payload_place {
  std::uint64_t place;  // 0: nowhere
  std::uint64_t capacity;
  std::uint64_t size;
  std::uint32_t number;
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
  process_payload arguments;
  const char* name = nullptr;  // of the task, or null; for messages
  const char* file = nullptr;  // the line that started it, or null
  unsigned line = 0;
  unsigned calls = 1;                   // of the user's function, that this one stands for
  process_pool_core* pool = nullptr;    // whose workers it is for, or null: of `processes`

  // Called once, before finished(), if the job returned a value. What it throws becomes the job's error. Must be quick
  // and must not call back into the dispatcher.
  void (*receive)(process_job&, const process_message& reply) = nullptr;
  // receive() runs code of the user's: it is called under no lock, and a small reply is copied first.
  bool receives_unlocked = false;
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
  // A reply that is left for later, under no lock: in the worker's memory, or copied out of the ring.
  lent_memory* lender = nullptr;  // held, while a reply is left
  payload_place late_reply = {};
  std::vector<std::byte> kept_reply;
  std::uint32_t late_pieces = 0;
  bool late_throws = false;
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

// Finds the functions. Throws, before anything is begun, what start_zygote() throws, and std::runtime_error if a function
// lies in no module that the workers have.
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
