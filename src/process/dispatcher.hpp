// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The parent's side of all workers: the queue of jobs, who works on what, and one thread that sleeps until a worker
// answers or dies. Submitters write into an idle worker's ring themselves; whoever waits may take replies in itself; the
// thread is there for when nobody does. One lock guards everything, and no user code runs under it. README.md has the
// states of a worker and of a job, and the protocol.
#pragma once

#include <atomic>
#include <cstdint>
#include <errand/detail/process_job.hpp>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "process/arena.hpp"
#include "process/modules.hpp"
#include "process/parent_end.hpp"
#include "process/zygote.hpp"

namespace errand::detail {

// Jobs in order, linked through themselves.
class job_list {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  std::size_t size() const noexcept { return size_; }
  process_job* front() const noexcept { return first_; }
  process_job* back() const noexcept { return last_; }
  void push_back(process_job& job) noexcept;
  void push_front(process_job& job) noexcept;
  void erase(process_job& job) noexcept;

 private:
  process_job* first_ = nullptr;
  process_job* last_ = nullptr;
  std::size_t size_ = 0;
};

class dispatcher {
 public:
  // Starts the thread. All that is referred to must outlive this. Throws std::system_error.
  dispatcher(zygote& origin, std::shared_ptr<shared_memory> memory, int bell_fd, module_list const& modules,
             unsigned workers);
  // No job may be under way.
  ~dispatcher();

  // See the functions of the same meaning in process_job.hpp. prepare() throws, before anything is begun.
  void prepare(process_job& job);
  void submit(process_job& job) noexcept;
  void stop(process_job& job) noexcept;
  void help(bool (*enough)(void const*), void const* argument) noexcept;

 private:
  using place = process_job::place;
  enum class life : unsigned char { none, alive, dying };

  struct worker {
    worker(int shared_fd, unsigned its_slot) : end(shared_fd, its_slot), slot(its_slot) {}

    bool idle() const noexcept { return stage == life::alive && sent.empty(); }

    parent_end end;
    unsigned slot;
    life stage = life::none;
    bool corrupt = false;           // it has overwritten its ring
    std::uint64_t serial = 0;       // of the process
    owner_ptr<lent_memory> lent;    // what it sends that is large; of this process, so made anew for each
    std::uint64_t last_use = 0;     // to prefer the one whose caches are warm
    std::int64_t busy_since = 0;    // 0: unknown
    job_list sent;                  // in the order of the ring; the first may be running
  };

  // Jobs that have ended, to be finished when the lock is released.
  using ended = job_list;

  void run_thread() noexcept;
  template <class Enough>
  void drive(Enough enough) noexcept;
  bool step() noexcept;
  void read_news() noexcept;

  // All below: under the lock.
  void feed(ended& over) noexcept;
  bool deal(ended& over) noexcept;
  bool even_out() noexcept;
  worker* choose(ended& over) noexcept;
  worker* start_worker(std::exception_ptr& why) noexcept;
  bool send(worker& w, process_job& job) noexcept;
  bool take_replies(worker& w, ended& over) noexcept;
  static void take(worker& w, process_job& job, parent_end::reply const& r) noexcept;
  void measure(worker& w, std::size_t answered) noexcept;
  std::size_t window() const noexcept;
  std::size_t living_workers() const noexcept;
  std::size_t busy_workers() const noexcept;
  bool call_back_last(worker& w) noexcept;
  void stop_sent(worker& w, process_job& job, ended& over) noexcept;
  static void end_stopped(process_job& job, ended& over) noexcept;
  void condemn(worker& w) noexcept;
  void bury(zygote::news const& n, ended& over, owner_ptr<lent_memory>& left) noexcept;
  void requeue(worker& w) noexcept;
  void fail_queued(std::exception_ptr const& why, ended& over) noexcept;
  void lose_zygote(ended& over) noexcept;
  void want_bells(bool wanted) noexcept;

  static void finish(ended& over) noexcept;
  static void read_late(process_job& job) noexcept;

  zygote& zygote_;
  std::shared_ptr<shared_memory> memory_;
  int bell_fd_;
  module_list const& modules_;
  unsigned const processors_;

  std::mutex lock_;
  job_list queued_;
  std::vector<std::unique_ptr<worker>> workers_;  // number i has slot i + 1
  worker* spinner_ = nullptr;                     // the one worker that may look for work before it sleeps
  std::size_t limit_;                             // of workers; less than planned if the kernel refuses more
  std::uint64_t last_id_ = 0;
  std::uint64_t last_serial_ = 0;
  std::uint64_t uses_ = 0;
  std::int64_t mean_job_ = 0;        // nanoseconds, 0: unknown
  unsigned stillborn_ = 0;           // workers in a row that died with no job begun
  unsigned drivers_ = 0;             // threads that look for replies right now
  std::atomic<bool> helped_{false};  // one of them is in help(). Set under the lock; read as a hint, without
  bool broken_ = false;  // the zygote is gone
  bool ending_ = false;

  std::thread thread_;
};

}  // namespace errand::detail
