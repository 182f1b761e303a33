// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/dispatcher.hpp"

#include <algorithm>
#include <errand/detail/process_job.hpp>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include "base/futex.hpp"
#include "process/death.hpp"
#include "process/exceptions.hpp"
#include "sched/threads.hpp"

namespace errand::detail {

namespace {

constexpr std::int64_t longest_spin = 50'000;
// Jobs shorter than this are sent ahead, so that a worker need not wait for the next while we wake up.
constexpr std::int64_t short_job = 2'000'000;
constexpr std::int64_t work_ahead = 200'000;
// While there are jobs, so often somebody looks whether those that answer are still there.
constexpr std::int64_t look_after_workers = 1'000'000'000;
// If so many workers in a row die before they begin a job, the next will too.
constexpr unsigned hopeless = 3;

std::int64_t later(std::int64_t at, std::chrono::nanoseconds span) noexcept {
  return span.count() < INT64_MAX - at ? at + span.count() : INT64_MAX;
}

}  // namespace

// ---- beginning and end

dispatcher::dispatcher(zygote& origin, std::shared_ptr<shared_memory> memory, module_list const& modules, unsigned workers)
    : zygote_(origin),
      memory_(std::move(memory)),
      modules_(modules),
      processors_(workers),
      bell_(memory_->file.fd(), channel::after_fork::inherit) {
  pools_.push_back(std::make_unique<pool>(workers, process_limits{}));
  first_pool_ = pools_.front().get();
  replies_ = start_thread("errand-process", [this] { look_for_replies(); });
  try {
    deaths_ = start_thread("errand-deaths", [this] { look_for_deaths(); });
  } catch (...) {
    end_threads();
    throw;
  }
}

dispatcher::~dispatcher() { end_threads(); }

void dispatcher::end_threads() noexcept {
  {
    std::unique_lock hold(lock_);
    ending_ = true;
    pool_changed_.notify_all();
    bell_.ring(bell_mask::all_of_them);
    pool_changed_.wait(hold, [this] { return sleeper_.load(std::memory_order_relaxed) == nullptr; });
  }
  zygote_.hang_up();
  replies_.join();
  if (deaths_.joinable()) deaths_.join();
  for (auto& w : workers_)
    if (w->lent) w->lent->close();
}

// ---- pools

process_pool_core& dispatcher::add_pool(unsigned workers, process_limits const& limits) {
  auto made = std::make_unique<pool>(workers, limits);
  std::lock_guard const hold(lock_);
  pools_.push_back(std::move(made));
  return *pools_.back();
}

void dispatcher::end_pool(process_pool_core& p) noexcept {
  std::unique_lock hold(lock_);
  pool_changed_.wait(hold, [&] { return p.unfinished == 0; });
  for (auto& w : workers_)
    if (w->pool == &p) condemn(*w, cause::pool_ended);
  pool_changed_.wait(hold, [&] { return p.living == 0; });
  remove_workers(p);
  std::erase_if(pools_, [&](auto& each) { return each.get() == &p; });
}

// Their entries, with the mapping and the memory of their rings.
void dispatcher::remove_workers(pool& p) noexcept {
  if (spinner_ != nullptr && spinner_->pool == &p) spinner_ = nullptr;
  for (auto& w : workers_)
    if (w->pool == &p) discard_shared(memory_->file.fd(), memory_file::slot_bytes * w->slot, memory_file::slot_bytes);
  std::erase_if(workers_, [&](auto& w) { return w->pool == &p; });
}

process_statistics dispatcher::statistics(process_pool_core* of) noexcept {
  std::lock_guard const hold(lock_);
  pool const& p = of != nullptr ? *of : *first_pool_;
  process_statistics found = p.counted;
  found.workers = static_cast<unsigned>(p.living);
  for (auto& w : workers_) found.busy += w->pool == &p && !w->sent.empty() ? 1 : 0;
  return found;
}

// ---- the three verbs

void dispatcher::prepare(process_job& job) {
  function_place const entry = modules_.find(reinterpret_cast<void (*)()>(job.entry));
  function_place const target = job.target != nullptr ? modules_.find(job.target) : function_place{0, 0};
  job.entry_module = entry.module;
  job.entry_offset = entry.offset;
  job.target_module = target.module;
  job.target_offset = target.offset;
  job.end = process_job_end::none;
  job.stop_wanted = job.overran = false;
}

void dispatcher::submit(process_job& job) noexcept {
  ended over;
  {
    std::lock_guard const hold(lock_);
    if (job.pool == nullptr) job.pool = first_pool_;
    job.id = ++last_id_;
    job.pool->counted.jobs += job.calls;
    if (job.pool != first_pool_) ++job.pool->unfinished;
    if (job.stop_wanted) {
      end_job(job, process_job_end::stopped, over);
    } else {
      job.where = place::queued;
      job.pool->queued.push_back(job);
      if (broken_)
        lose_zygote(over);
      else
        deal_all(*job.pool, over);  // who has nothing to do had nothing to do before: nothing to even out
    }
  }
  finish(over);
}

void dispatcher::stop(process_job& job) noexcept {
  ended over;
  {
    std::lock_guard const hold(lock_);
    if (job.where == place::queued) {
      job.pool->queued.erase(job);
      end_job(job, process_job_end::stopped, over);
    } else if (job.where == place::sent) {
      pool& p = *job.pool;
      stop_sent(*job.worker, job, over);
      feed(p, over);
    }
  }
  finish(over);
}

void dispatcher::help(bool (*enough)(void const*), void const* argument) noexcept {
  std::unique_lock hold(lock_);
  std::size_t const busy = busy_workers();
  // One spinner at most, and none that would take a worker's processor.
  if (helped_.load(std::memory_order_relaxed) || busy == 0 || busy + 1 > processors_) return;
  help_along(hold, [&] { return enough(argument); });
}

template <class Enough>
void dispatcher::help_along(std::unique_lock<small_lock>& hold, Enough enough) noexcept {
  helped_.store(true, std::memory_order_relaxed);
  drive(hold, enough);
  helped_.store(false, std::memory_order_relaxed);
}

bool dispatcher::sleep(std::atomic<std::uint32_t> const& woken, std::int64_t deadline) noexcept {
  if (deadline != INT64_MAX && now() >= deadline) return false;
  std::uint32_t rung = 0;
  ended over;
  {
    std::lock_guard const hold(lock_);
    if (ending_ || sleeper_.load(std::memory_order_relaxed) != nullptr || busy_workers() == 0) return false;
    rung = bell_.rung();  // before the looks
    // (E1) seq_cst: shows itself, then looks whether it was woken; pairs with (E1) in wake(): woken, then looks who sleeps.
    sleeper_.store(&woken);
    if (drivers_ == 0) want_bells();
    take_all_replies(over);  // the look of (B1)
  }
  finish(over);
  if (woken.load() == 0) bell_.wait(rung, deadline, bell_mask::who_awaits);  // (E1)
  std::unique_lock hold(lock_);
  sleeper_.store(nullptr, std::memory_order_relaxed);
  if (ending_) {  // our destructor waits for this, and no job is under way
    pool_changed_.notify_all();
    return true;
  }
  // Whose bell was wanted for us is looked after by whoever looks already, until he wants the bells, or by us.
  // Relaxed: only whether to go on looking; the caller looks by itself.
  if (drivers_ == 0) help_along(hold, [&] { return woken.load(std::memory_order_relaxed) != 0; });
  return true;
}

void dispatcher::wake(std::atomic<std::uint32_t> const* woken) noexcept {
  if (sleeper_.load() == woken) bell_.ring(bell_mask::who_awaits);  // (E1)
}

// ---- who looks for replies

void dispatcher::look_for_replies() noexcept {
  for (;;) {
    auto const rung = bell_.rung();  // before the looks
    // Whoever waits for a result takes it in faster than we could wake him: we leave it to him.
    {
      std::unique_lock hold(lock_);
      drive(hold, [this] { return helped_.load(std::memory_order_relaxed); });
    }
    std::int64_t until = INT64_MAX;
    ended over;
    {
      std::lock_guard const hold(lock_);
      if (ending_) return;
      until = sleeping_until_ = check_times(over);
    }
    finish(over);
    bell_.wait(rung, until, bell_mask::replies_thread);
    std::lock_guard const hold(lock_);
    sleeping_until_ = INT64_MIN;
  }
}

void dispatcher::look_for_deaths() noexcept {
  for (;;) {
    zygote::news n{};
    bool const alive = zygote_.wait_for(n);
    ended over;
    owner_ptr<lent_memory> left;  // by the dead
    {
      std::lock_guard const hold(lock_);
      if (!alive && ending_) return;
      if (!alive && leaving_.load(std::memory_order_acquire)) broken_ = true;  // (LV1) nobody is there to be told
      else if (alive)
        bury(n, over, left);
      else
        lose_zygote(over);
      pool_changed_.notify_all();
    }
    finish(over);
    for (; left; left = std::move(left->next)) left->reader_is_done();
    if (alive) continue;
    std::unique_lock hold(lock_);
    return pool_changed_.wait(hold, [this] { return ending_; });  // it is joined at the end only
  }
}

// Takes replies in until `enough`, or until it would be a waste of the processor. A reply that is found at once costs one
// section under the lock; the caller holds it, and does not afterwards.
template <class Enough>
void dispatcher::drive(std::unique_lock<small_lock>& hold, Enough enough) noexcept {
  if (drivers_++ == 0)
    for (auto& w : workers_)
      if (!w->sent.empty()) w->end.want_no_bell();
  std::int64_t idle_since = 0;
  for (unsigned turn = 1;; ++turn) {
    ended over;
    bool const progress = take_all_replies(over);
    std::size_t const busy = busy_workers();
    if (busy == 0) --drivers_;  // there is nobody whose bell would have to be wanted
    hold.unlock();
    finish(over);
    if (busy == 0) return;
    if (enough()) break;
    if (progress) {
      idle_since = 0;
    } else if (turn % 16 == 0) {
      std::int64_t const time = now();
      if (idle_since == 0) idle_since = time;
      if (busy + 1 > processors_ || time - idle_since > longest_spin) break;
    }
    cpu_relax();
    hold.lock();
  }
  hold.lock();
  ended over;
  if (--drivers_ == 0) {
    want_bells();
    take_all_replies(over);  // what was answered before the bells were wanted: the look of (B1)
  }
  hold.unlock();
  finish(over);
}

// (B1) of every worker that may answer; see parent_end::want_bell().
void dispatcher::want_bells() noexcept {
  for (auto& w : workers_)
    if (!w->sent.empty()) w->end.want_bell(whom_to_wake());
}

// A thread that sleeps for a result: its wake-up is the only one then.
bell_mask dispatcher::whom_to_wake() const noexcept {
  return sleeper_.load(std::memory_order_relaxed) != nullptr ? bell_mask::who_awaits : bell_mask::replies_thread;
}

bool dispatcher::take_all_replies(ended& over) noexcept {
  bool progress = false;
  for (auto& w : workers_)
    if (!w->sent.empty() && take_replies(*w, over)) progress = true;
  if (progress) feed_all(over);
  return progress;
}

// ---- jobs out

void dispatcher::feed_all(ended& over) noexcept {
  for (auto& p : pools_) feed(*p, over);
}

void dispatcher::feed(pool& p, ended& over) noexcept {
  deal_all(p, over);
  if (p.queued.empty() && even_out(p)) deal_all(p, over);
}

void dispatcher::deal_all(pool& p, ended& over) noexcept {
  while (!p.queued.empty() && deal(p, over)) {
  }
}

// Sends the first job of the queue to somebody. False if nobody can take it now.
bool dispatcher::deal(pool& p, ended& over) noexcept {
  worker* const w = choose(p, over);
  if (w == nullptr || p.queued.empty()) return false;
  process_job& job = *p.queued.front();
  p.queued.erase(job);
  if (send(*w, job)) return true;
  p.queued.push_front(job);
  return false;
}

// An idle worker, a new one, or one whose window has room: in this order.
dispatcher::worker* dispatcher::choose(pool& p, ended& over) noexcept {
  worker* best = nullptr;
  for (auto& w : workers_) {
    if (w->pool != &p || w->stage != life::alive || w->spent() || w->halted) continue;
    if (best == nullptr || w->sent.size() < best->sent.size() ||
        (w->sent.size() == best->sent.size() && w->last_use > best->last_use))
      best = w.get();
  }
  if (best != nullptr && best->sent.empty()) return best;
  if (p.living < p.most) {
    std::exception_ptr why;
    if (worker* const fresh = start_worker(p, why)) return fresh;
    if (p.living == 0) {
      fail_queued(p, why, over);
      return nullptr;
    }
    p.most = p.living;
  }
  return best != nullptr && best->sent.size() < window(p) ? best : nullptr;
}

bool dispatcher::send(worker& w, process_job& job) noexcept {
  if (!w.end.try_send(job, w.sent.front(), drivers_ == 0 ? whom_to_wake() : bell_mask::nobody)) return false;
  job.where = place::sent;
  job.worker = &w;
  w.sent.push_back(job);
  w.given += job.calls;
  if (w.sent.size() == 1) begin_time(w);
  if (sleeping_until_ == INT64_MAX) {  // there has been no job for a second
    sleeping_until_ = INT64_MIN;
    bell_.ring(bell_mask::replies_thread);
  }
  w.last_use = ++uses_;
  bool const may_spin = busy_workers() + 1 <= processors_;
  if (spinner_ != nullptr && spinner_ != &w) spinner_->end.let_spin(false);
  spinner_ = &w;
  w.end.let_spin(may_spin);
  return true;
}

std::size_t dispatcher::window(pool const& p) noexcept {
  if (p.mean_job == 0 || p.mean_job > short_job) return 1;
  return static_cast<std::size_t>(std::clamp<std::int64_t>(work_ahead / p.mean_job, 2, window_limit));
}

std::size_t dispatcher::busy_workers() const noexcept {
  std::size_t busy = 0;
  for (auto& w : workers_) busy += w->sent.empty() ? 0 : 1;
  return busy;
}

// Nothing is queued: if a worker has nothing to do and another has jobs it has not begun, half of these go back into
// the queue. A long job among short ones so holds nobody up. Returns whether it did.
bool dispatcher::even_out(pool& p) noexcept {
  worker* fullest = nullptr;
  bool idle = p.living < p.most;
  for (auto& w : workers_) {
    if (w->pool != &p) continue;
    idle = idle || (w->idle() && !w->spent());
    if (fullest == nullptr || w->sent.size() > fullest->sent.size()) fullest = w.get();
  }
  if (!idle || fullest == nullptr || fullest->sent.size() < 2) return false;
  std::size_t const keep = (fullest->sent.size() + 1) / 2;
  while (fullest->sent.size() > keep && call_back_last(*fullest)) {
  }
  return !p.queued.empty();
}

// sent -> queued, of the last job that was sent to the worker. False if it has begun it.
bool dispatcher::call_back_last(worker& w) noexcept {
  process_job& job = *w.sent.back();
  if (!w.end.try_recall(job)) return false;
  w.sent.erase(job);
  w.given -= job.calls;
  job.where = place::queued;
  job.pool->queued.push_front(job);
  return true;
}

// ---- replies in

bool dispatcher::take_replies(worker& w, ended& over) noexcept {
  std::size_t answered = 0;
  while (!w.sent.empty() && w.killed_for != cause::overwrote) {
    parent_end::reply r{};
    auto const seen = w.end.peek(r);
    if (seen == parent_end::look::nothing) break;
    process_job& job = *w.sent.front();
    if (seen == parent_end::look::corrupt || r.id != job.id) {
      condemn(w, cause::overwrote);
      break;
    }
    take(w, job, r);
    w.end.pop();
    w.sent.erase(job);
    end_job(job, job.end, over);
    ++answered;
  }
  if (answered == 0) return false;
  pool& p = *w.pool;
  p.stillborn = 0;
  w.halted = false;
  if (w.end.worn_out()) wear_out(w);
  measure(w, answered);
  begin_time(w);
  if (w.sent.empty()) {
    if (w.spent()) condemn(w, cause::recycled);
    if (p.queued.empty()) p.most = p.planned;  // what the kernel refused once, it may grant the next time
  }
  return true;
}

// What is in the ring is taken now, if that runs no code of the user's. The rest is left to read_late().
void dispatcher::take(worker& w, process_job& job, parent_end::reply const& r) noexcept {
  job.end = r.throws ? process_job_end::exception : process_job_end::value;
  bool const late = r.data == nullptr || r.pieces != 0 || (job.receives_unlocked && !r.throws);
  try {
    if (late) {
      if (r.data != nullptr) job.kept_reply.assign(r.data, r.data + r.place.size);
      job.late_reply = r.place;
      job.late_pieces = r.pieces;
      w.lent->hold();
      w.lent->expect_reader();
      job.lender = w.lent.get();
      return;
    }
    if (!r.throws) return job.receive(job, {r.data, r.place.size, nullptr, 0});
    job.error = rebuild_exception(r.data, r.place.size);
  } catch (...) {
    job.end = process_job_end::exception;
    job.error = std::current_exception();
  }
}

// It begins no other job: what was sent ahead is for others.
void dispatcher::wear_out(worker& w) noexcept {
  w.worn = true;
  while (!w.sent.empty() && call_back_last(w)) {
  }
}

// The clock is only looked at while there is more to do than can be sent.
void dispatcher::measure(worker& w, std::size_t answered) noexcept {
  if (w.pool->queued.empty() && w.sent.empty()) {
    w.busy_since = 0;
    return;
  }
  std::int64_t const time = now();
  if (w.busy_since != 0) {
    std::int64_t const each = std::max<std::int64_t>(1, (time - w.busy_since) / static_cast<std::int64_t>(answered));
    std::int64_t& mean = w.pool->mean_job;
    mean = mean == 0 ? each : (mean * 7 + each) / 8;
  }
  w.busy_since = time;
}

void dispatcher::end_job(process_job& job, process_job_end how, ended& over) noexcept {
  job.end = how;
  job.where = place::done;
  job.pool->counted.ended += job.calls;
  if (how == process_job_end::died) job.pool->counted.lost += job.calls;
  over.push_back(job);
}

// ---- limits of time

// The worker has another first job than before, or none.
void dispatcher::begin_time(worker& w) noexcept {
  w.look_at = INT64_MAX;
  if (w.sent.empty() || !w.pool->limits_time()) return;
  w.first_since = now();
  look_again_at(w, later(w.first_since, w.pool->limits.time));
}

void dispatcher::look_again_at(worker& w, std::int64_t at) noexcept {
  w.look_at = at;
  if (at < sleeping_until_) bell_.ring(bell_mask::replies_thread);
}

// Stops the jobs that have had their time. Returns when to look again.
std::int64_t dispatcher::check_times(ended& over) noexcept {
  std::int64_t const time = now();
  bool stopped = false;
  for (auto& w : workers_) {
    if (w->stage == life::alive && !w->sent.empty()) {
      busy_at_ = time;
      if (w->end.first_thread_has_ended()) condemn(*w, cause::headless);
    }
    if (w->look_at > time || w->stage != life::alive || w->sent.empty()) continue;
    auto const limit = w->pool->limits.time;
    process_job& job = *w->sent.front();
    std::int64_t begun = time;  // not at all: the worker is still being born
    if (w->end.was_begun(job)) {
      std::int64_t const said = w->end.begun_at();  // by the worker: what cannot be is not believed
      begun = said <= time ? std::max(said, w->first_since) : w->first_since;
    }
    w->look_at = later(begun, limit);
    if (w->look_at > time) continue;
    stopped = job.overran = true;
    stop_sent(*w, job, over);
  }
  if (stopped) feed_all(over);
  std::int64_t next = time - look_after_workers < busy_at_ ? time + look_after_workers : INT64_MAX;
  for (auto& w : workers_)
    if (w->stage == life::alive && !w->sent.empty()) next = std::min(next, w->look_at);
  return next;
}

// ---- workers' lives

// none -> alive: has a worker forked into a free entry. Null, and why, if there is none to be had.
dispatcher::worker* dispatcher::start_worker(pool& p, std::exception_ptr& why) noexcept {
  worker* free = nullptr;
  for (auto& w : workers_)
    if (w->stage == life::none) free = w.get();
  if (free == nullptr) {
    try {
      workers_.push_back(std::make_unique<worker>(memory_->file.fd(), free_slot()));
    } catch (...) {
      why = std::current_exception();
      return nullptr;
    }
    free = workers_.back().get();
  }
  std::uint64_t const arena_slot = memory_file::arena_slot(last_serial_ + 1);
  owner_ptr<lent_memory> lent;
  try {
    lent.reset(new lent_memory(memory_, arena_slot, free->end.returned()));
  } catch (...) {
    why = std::current_exception();
    return nullptr;
  }
  free->pool = &p;
  free->serial = ++last_serial_;
  free->lent = std::move(lent);
  free->end.reset(arena_slot);
  free->given = 0;
  free->worn = free->halted = false;
  free->killed_for = cause::none;
  free->busy_since = 0;
  free->look_at = INT64_MAX;
  free->stage = life::alive;
  ++p.living;
  ++p.counted.workers_started;
  // If the zygote is gone, its socket says so soon, and the job is failed then.
  (void)zygote_.order_worker({.slot = free->slot,
                              .memory = p.limits.memory,
                              .largest = p.limits.recycle_when_larger,
                              .tells_time = p.limits_time()}, free->serial);
  return free;
}

unsigned dispatcher::free_slot() const {
  for (unsigned slot = 1; slot <= most_process_workers; ++slot)
    if (std::none_of(workers_.begin(), workers_.end(), [&](auto& w) { return w->slot == slot; })) return slot;
  throw std::runtime_error("errand: cannot start a worker process: there are " + std::to_string(most_process_workers) +
                           " already, in all pools together");
}

// If the worker has begun the job, kills it, unless it has gone on to another one already.
void dispatcher::stop_sent(worker& w, process_job& job, ended& over) noexcept {
  if (w.end.try_recall(job)) {
    w.sent.erase(job);
    w.given -= job.calls;
    end_job(job, process_job_end::stopped, over);
    begin_time(w);
    return;
  }
  while (w.sent.back() != &job && call_back_last(w)) {
  }
  if (w.sent.back() != &job) {
    take_replies(w, over);  // it has ended by itself, or the next would not have begun
    return;
  }
  job.stop_wanted = true;
  condemn(w, cause::stop);
}

// alive -> dying. From here on nothing is sent to it.
void dispatcher::condemn(worker& w, cause why) noexcept {
  if (w.stage == life::none) return;
  if (w.killed_for == cause::none || why == cause::overwrote) w.killed_for = why;
  if (w.stage == life::dying) return;
  w.stage = life::dying;
  (void)zygote_.order_kill(w.serial);
}

// alive or dying -> none. At most one job was begun and not answered: that one is lost, the others go back.
// What it leaves of shared memory is added to `left`, for sweep().
void dispatcher::bury(zygote::news const& n, ended& over, owner_ptr<lent_memory>& left) noexcept {
  worker* const found = with_serial(n.serial);
  if (found == nullptr) return;
  worker& w = *found;
  pool& p = *w.pool;
  take_replies(w, over);  // what it answered while it lived, counts
  if (n.stopped) {
    halt(w);
    return feed(p, over);
  }
  bool const was_meant = w.stage == life::dying;
  w.stage = life::none;
  w.look_at = INT64_MAX;
  --p.living;
  if (process_job* const job = w.sent.front(); job != nullptr && w.end.was_begun(*job)) {
    w.sent.erase(*job);
    if (!job->stop_wanted || w.killed_for == cause::overwrote) {
      job->error = death_of(*job, n,
                            w.killed_for == cause::overwrote  ? "it had overwritten the memory shared with it"
                            : w.killed_for == cause::headless ? "its first thread had ended by the system call exit"
                                                              : nullptr);
      end_job(*job, process_job_end::died, over);
    } else if (job->overran) {
      job->error = overrun_of(*job, p.limits.time);
      end_job(*job, process_job_end::exception, over);
    } else {
      end_job(*job, process_job_end::stopped, over);
    }
    p.stillborn = 0;
  } else if (!was_meant && n.error == 0 && !n.zygote_died) {
    ++p.stillborn;
  }
  requeue(w);
  w.lent->expect_reader();  // so that close() leaves the slow part to us, when the lock is released
  w.lent->close();
  w.lent->next = std::move(left);
  left = std::move(w.lent);

  if (n.error != 0) {
    --p.counted.workers_started;
    p.most = std::max<std::size_t>(1, p.living);
    if (p.living == 0)
      fail_queued(p,
                  std::make_exception_ptr(
                      std::system_error(n.error, std::system_category(), "errand: cannot fork a worker process")),
                  over);
  } else {
    count_death(w);
    if (p.stillborn >= hopeless) {
      p.stillborn = 0;
      fail_queued(p, death_of_newborns(n), over);
    }
  }
  feed(p, over);
}

dispatcher::worker* dispatcher::with_serial(std::uint64_t serial) noexcept {
  for (auto& w : workers_)
    if (w->stage != life::none && w->serial == serial) return w.get();
  return nullptr;
}

// It was stopped, and may never be continued. What it has not begun is for others. If it is in the midst of a job, a stop
// or a limit of time kills it, or somebody continues it; else nobody misses it.
void dispatcher::halt(worker& w) noexcept {
  while (!w.sent.empty() && call_back_last(w)) {
  }
  if (w.sent.empty())
    condemn(w, cause::halted);
  else
    w.halted = true;
}

void dispatcher::count_death(worker& w) noexcept {
  auto& counted = w.pool->counted;
  switch (w.killed_for) {
    case cause::none:
    case cause::halted:
    case cause::headless:
    case cause::overwrote:
      ++counted.workers_died;
      break;
    case cause::stop:
      ++counted.workers_killed;
      break;
    case cause::recycled:
      ++counted.workers_recycled;
      break;
    case cause::pool_ended:
      break;
  }
}

void dispatcher::requeue(worker& w) noexcept {
  while (process_job* const job = w.sent.back()) {
    w.sent.erase(*job);
    job->where = place::queued;
    job->pool->queued.push_front(*job);
  }
}

void dispatcher::fail_queued(pool& p, std::exception_ptr const& why, ended& over) noexcept {
  while (process_job* const job = p.queued.front()) {
    p.queued.erase(*job);
    job->error = why;
    end_job(*job, process_job_end::exception, over);
  }
}

// The workers die with the zygote, and nobody can fork others: all that is here has failed, and all that comes will.
void dispatcher::lose_zygote(ended& over) noexcept {
  broken_ = true;
  for (auto& w : workers_) {
    take_replies(*w, over);
    requeue(*w);
    w->stage = life::none;
  }
  for (auto& p : pools_) {
    p->living = 0;
    fail_queued(*p, death_of_zygote(), over);
  }
}

// ---- the end of a job, outside the lock

void dispatcher::finish(ended& over) noexcept {
  while (process_job* const job = over.front()) {
    over.erase(*job);
    if (job->lender != nullptr) read_late(*job);
    job->arguments.clear();
    pool& p = *job->pool;
    bool const counted = &p != first_pool_;
    job->finished(job);  // the last touch
    if (!counted) continue;
    std::lock_guard const hold(lock_);
    if (--p.unfinished == 0) pool_changed_.notify_all();  // under the lock: the pool goes as soon as it is released
  }
}

void dispatcher::read_late(process_job& job) noexcept {
  owner_ptr<lent_memory> const lender{std::exchange(job.lender, nullptr)};
  try {
    auto const& [place, capacity, size, number] = job.late_reply;
    piece_ref whole;
    if (place != 0) whole = lender->adopt(number, place, capacity, size);
    std::byte const* const bytes = whole ? whole->data : job.kept_reply.data();
    if (job.end == process_job_end::exception) {
      job.error = rebuild_exception(bytes, size);
    } else {
      piece_list pieces = pieces_of(bytes, size, job.late_pieces, [&](piece_entry const& named) {
        return lender->adopt(named.number, named.place, named.capacity, 0);
      });
      job.receive(job, {bytes, size - pieces.size() * sizeof(piece_entry), pieces.data(), pieces.size()});
    }
  } catch (...) {
    job.end = process_job_end::exception;
    job.error = std::current_exception();
  }
  job.kept_reply = {};
  lender->reader_is_done();
}

}  // namespace errand::detail
