// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The parent's side of all workers of all pools: the queues of jobs, who works on what, one thread that sleeps until a
// worker answers or has taken too long, and one that sleeps until one dies. Submitters write into an idle worker's ring
// themselves; whoever waits may take replies in itself; the first thread is there for when nobody does. One lock guards
// everything, and no user code runs under it. README.md has the states of a worker and of a job, and the protocol.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <errand/detail/process_job.hpp>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/lock.hpp"
#include "process/arena.hpp"
#include "process/bell.hpp"
#include "process/job_list.hpp"
#include "process/modules.hpp"
#include "process/parent_end.hpp"
#include "process/pool_state.hpp"
#include "process/zygote.hpp"

namespace errand::detail {

// A worker process and its entry; the entry outlives the process and waits for its successor.
struct process_worker {
  enum class life : unsigned char { none, alive, dying };
  // Why we have it killed.
  enum class cause : unsigned char { none, stop, halted, headless, overwrote, recycled, pool_ended };

  process_worker(int shared_fd, unsigned its_slot) : end(shared_fd, its_slot), slot(its_slot) {}

  [[nodiscard]] bool idle() const noexcept { return stage == life::alive && sent.empty(); }
  // It shall get no more jobs, and be replaced when it has done what it has.
  [[nodiscard]] bool spent() const noexcept {
    return worn || (pool->limits.recycle_after != 0 && given >= pool->limits.recycle_after);
  }

  parent_end end;
  unsigned const slot;
  process_pool_core* pool = nullptr;  // whose it is; of a process that there is not, whose it was
  life stage = life::none;
  cause killed_for = cause::none;
  bool worn = false;                // it has said that it will begin no other job: it has no memory left, or too much
  bool halted = false;              // a signal has stopped it, in the midst of a job
  std::uint64_t serial = 0;         // of the process
  std::uint64_t given = 0;          // jobs, to this process
  owner_ptr<lent_memory> lent;      // what it sends that is large; of this process, so made anew for each
  std::uint64_t last_use = 0;       // to prefer the one whose caches are warm
  std::int64_t busy_since = 0;      // 0: unknown
  std::int64_t first_since = 0;      // where time is limited: since when the first job is the first
  std::int64_t look_at = INT64_MAX;  // when to see whether it has had its time
  job_list sent;                    // in the order of the ring; the first may be running
};

class dispatcher {
 public:
  // Starts the threads. All that is referred to must outlive this. Throws std::system_error.
  dispatcher(zygote& origin, std::shared_ptr<shared_memory> memory, module_list const& modules, unsigned workers);
  // No job may be under way, and no pool be there but `processes`.
  ~dispatcher();

  // See the functions of the same meaning in process_job.hpp. prepare() throws, before anything is begun.
  void prepare(process_job& job);
  void submit(process_job& job) noexcept;
  void stop(process_job& job) noexcept;
  void help(bool (*enough)(void const*), void const* argument) noexcept;
  // See outside_work.
  bool sleep(std::atomic<std::uint32_t> const& woken, std::int64_t deadline) noexcept;
  void wake(std::atomic<std::uint32_t> const* woken) noexcept;

  // A pool beside `processes`. Throws std::bad_alloc.
  process_pool_core& add_pool(unsigned workers, process_limits const& limits);
  // Waits until its jobs have ended and its workers are gone.
  void end_pool(process_pool_core& pool) noexcept;
  // Of `processes` for null.
  process_statistics statistics(process_pool_core* pool) noexcept;

  // The program ends, and lets the zygote go: its end is no news. Takes no lock, as nobody knows who holds it by then.
  void leave() noexcept { leaving_.store(true, std::memory_order_release); }  // (LV1)

 private:
  using place = process_job::place;
  using worker = process_worker;
  using life = worker::life;
  using cause = worker::cause;
  using pool = process_pool_core;

  // Jobs that have ended, to be finished when the lock is released.
  using ended = job_list;

  void end_threads() noexcept;
  void look_for_replies() noexcept;
  void look_for_deaths() noexcept;
  template <class Enough>
  void help_along(std::unique_lock<small_lock>& hold, Enough enough) noexcept;
  template <class Enough>
  void drive(std::unique_lock<small_lock>& hold, Enough enough) noexcept;

  // All below: under the lock.
  void feed_all(ended& over) noexcept;
  void feed(pool& p, ended& over) noexcept;
  void deal_all(pool& p, ended& over) noexcept;
  bool deal(pool& p, ended& over) noexcept;
  bool even_out(pool& p) noexcept;
  worker* choose(pool& p, ended& over) noexcept;
  worker* start_worker(pool& p, std::exception_ptr& why) noexcept;
  unsigned free_slot() const;
  bool send(worker& w, process_job& job) noexcept;
  bool take_all_replies(ended& over) noexcept;
  bool take_replies(worker& w, ended& over) noexcept;
  static void take(worker& w, process_job& job, parent_end::reply const& r) noexcept;
  void wear_out(worker& w) noexcept;
  void measure(worker& w, std::size_t answered) noexcept;
  static std::size_t window(pool const& p) noexcept;
  std::size_t busy_workers() const noexcept;
  bool call_back_last(worker& w) noexcept;
  void stop_sent(worker& w, process_job& job, ended& over) noexcept;
  void begin_time(worker& w) noexcept;
  void look_again_at(worker& w, std::int64_t at) noexcept;
  std::int64_t check_times(ended& over) noexcept;
  void end_job(process_job& job, process_job_end how, ended& over) noexcept;
  void condemn(worker& w, cause why) noexcept;
  void bury(zygote::news const& n, ended& over, owner_ptr<lent_memory>& left) noexcept;
  void halt(worker& w) noexcept;
  worker* with_serial(std::uint64_t serial) noexcept;
  void count_death(worker& w) noexcept;
  void requeue(worker& w) noexcept;
  void fail_queued(pool& p, std::exception_ptr const& why, ended& over) noexcept;
  void lose_zygote(ended& over) noexcept;
  void want_bells() noexcept;
  [[nodiscard]] bell_mask whom_to_wake() const noexcept;
  void remove_workers(pool& p) noexcept;

  void finish(ended& over) noexcept;
  static void read_late(process_job& job) noexcept;

  zygote& zygote_;
  std::shared_ptr<shared_memory> memory_;
  module_list const& modules_;
  unsigned const processors_;
  bell bell_;

  small_lock lock_;
  std::vector<std::unique_ptr<pool>> pools_;
  pool* first_pool_ = nullptr;  // `processes`; constant
  std::vector<std::unique_ptr<worker>> workers_;
  worker* spinner_ = nullptr;  // the one worker that may look for work before it sleeps
  std::uint64_t last_id_ = 0;
  std::uint64_t last_serial_ = 0;
  std::uint64_t uses_ = 0;
  unsigned drivers_ = 0;                      // threads that look for replies right now
  std::atomic<bool> helped_{false};           // one of them is in help(). Set under the lock; read as a hint, without
  std::int64_t busy_at_ = INT64_MIN;          // when look_for_replies() last saw a worker with a job
  std::int64_t sleeping_until_ = INT64_MIN;   // while look_for_replies() sleeps: up to when, if nobody rings
  // The word for which a thread is in sleep(). Set under the lock; wake() looks without.
  std::atomic<std::atomic<std::uint32_t> const*> sleeper_{nullptr};
  bool broken_ = false;  // the zygote is gone
  std::atomic<bool> leaving_{false};  // (LV1) release before the zygote is told, acquire when it has gone
  bool ending_ = false;
  // A pool that ends has lost a job or a worker; or all ends, and nobody is in sleep() any more.
  std::condition_variable_any pool_changed_;

  std::thread replies_;
  std::thread deaths_;
};

}  // namespace errand::detail
