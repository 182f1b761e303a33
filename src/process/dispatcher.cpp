// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/dispatcher.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <errand/detail/process_job.hpp>
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
// If so many workers in a row die before they begin a job, the next will too.
constexpr unsigned hopeless = 3;

}  // namespace

// ---- job_list

void job_list::push_back(process_job& job) noexcept {
  job.next = nullptr;
  job.previous = last_;
  (last_ != nullptr ? last_->next : first_) = &job;
  last_ = &job;
  ++size_;
}

void job_list::push_front(process_job& job) noexcept {
  job.previous = nullptr;
  job.next = first_;
  (first_ != nullptr ? first_->previous : last_) = &job;
  first_ = &job;
  ++size_;
}

void job_list::erase(process_job& job) noexcept {
  (job.previous != nullptr ? job.previous->next : first_) = job.next;
  (job.next != nullptr ? job.next->previous : last_) = job.previous;
  job.next = job.previous = nullptr;
  --size_;
}

// ---- beginning and end

dispatcher::dispatcher(zygote& origin, std::shared_ptr<shared_memory> memory, int bell_fd, module_list const& modules,
                       unsigned workers)
    : zygote_(origin), memory_(std::move(memory)), bell_fd_(bell_fd), modules_(modules), processors_(workers), limit_(workers) {
  workers_.reserve(workers);
  thread_ = start_thread("errand-process", [this] { run_thread(); });
}

dispatcher::~dispatcher() {
  {
    std::lock_guard const hold(lock_);
    ending_ = true;
  }
  std::uint64_t const one = 1;
  [[maybe_unused]] auto const written = ::write(bell_fd_, &one, sizeof one);
  thread_.join();
  for (auto& w : workers_)
    if (w->lent) w->lent->close();
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
  job.stop_wanted = false;
}

void dispatcher::submit(process_job& job) noexcept {
  ended over;
  {
    std::lock_guard const hold(lock_);
    job.id = ++last_id_;
    job.where = place::queued;
    queued_.push_back(job);
    if (broken_)
      lose_zygote(over);
    else
      feed(over);
  }
  finish(over);
}

void dispatcher::stop(process_job& job) noexcept {
  ended over;
  {
    std::lock_guard const hold(lock_);
    if (job.where == place::queued) {
      queued_.erase(job);
      end_stopped(job, over);
    } else if (job.where == place::sent) {
      stop_sent(*workers_[job.worker], job, over);
      feed(over);
    }
  }
  finish(over);
}

void dispatcher::help(bool (*enough)(void const*), void const* argument) noexcept {
  {
    std::lock_guard const hold(lock_);
    std::size_t const busy = busy_workers();
    // One spinner at most, and none that would take a worker's processor.
    if (helped_.load(std::memory_order_relaxed) || busy == 0 || busy + 1 > processors_) return;
    helped_.store(true, std::memory_order_relaxed);
  }
  drive([&] { return enough(argument); });
  helped_.store(false, std::memory_order_relaxed);
}

// ---- who looks for replies

void dispatcher::run_thread() noexcept {
  for (;;) {
    // Whoever waits for a result takes it in faster than we could wake him: we leave it to him.
    drive([this] { return helped_.load(std::memory_order_relaxed); });
    pollfd watched[] = {{bell_fd_, POLLIN, 0}, {zygote_.fd(), POLLIN, 0}};
    {
      std::lock_guard const hold(lock_);
      if (ending_) return;
      if (broken_) watched[1].fd = -1;
    }
    if (::poll(watched, 2, -1) < 0) continue;
    if (watched[0].revents != 0) {
      std::uint64_t rings = 0;
      [[maybe_unused]] auto const got = ::read(bell_fd_, &rings, sizeof rings);
    }
    if (watched[1].revents != 0) read_news();
  }
}

// Takes replies in until `enough`, or until it would be a waste of the processor.
template <class Enough>
void dispatcher::drive(Enough enough) noexcept {
  {
    std::lock_guard const hold(lock_);
    if (drivers_++ == 0) want_bells(false);
  }
  std::int64_t idle_since = 0;
  for (unsigned turn = 0;; ++turn) {
    bool const progress = step();
    if (enough()) break;
    if (progress) idle_since = 0;
    if (progress || turn % 16 != 0) {
      cpu_relax();
      continue;
    }
    std::int64_t const time = now();
    if (idle_since == 0) idle_since = time;
    std::lock_guard const hold(lock_);
    std::size_t const busy = busy_workers();
    if (busy == 0 || busy + 1 > processors_ || time - idle_since > longest_spin) break;
  }
  {
    std::lock_guard const hold(lock_);
    if (--drivers_ != 0) return;
    want_bells(true);
  }
  step();  // what was answered before the bells were wanted: the look of (B1)
}

bool dispatcher::step() noexcept {
  ended over;
  bool progress = false;
  {
    std::lock_guard const hold(lock_);
    for (auto& w : workers_)
      if (!w->sent.empty() && take_replies(*w, over)) progress = true;
    if (progress) feed(over);
  }
  finish(over);
  return progress;
}

void dispatcher::read_news() noexcept {
  ended over;
  owner_ptr<lent_memory> left;  // by the dead
  {
    std::lock_guard const hold(lock_);
    for (;;) {
      zygote::news n{};
      auto const got = zygote_.try_read(n);
      if (got == zygote::reading::news) {
        bury(n, over, left);
        continue;
      }
      if (got == zygote::reading::gone)
        lose_zygote(over);
      else
        feed(over);
      break;
    }
  }
  finish(over);
  for (; left; left = std::move(left->next)) left->reader_is_done();
}

// (B1) for every worker that may answer; see parent_end::want_bell().
void dispatcher::want_bells(bool wanted) noexcept {
  for (auto& w : workers_)
    if (!w->sent.empty()) w->end.want_bell(wanted);
}

// ---- jobs out

void dispatcher::feed(ended& over) noexcept {
  while (!queued_.empty() && deal(over)) {
  }
  if (queued_.empty() && even_out())
    while (!queued_.empty() && deal(over)) {
    }
}

// Sends the first job of the queue to somebody. False if nobody can take it now.
bool dispatcher::deal(ended& over) noexcept {
  worker* const w = choose(over);
  if (w == nullptr || queued_.empty()) return false;
  process_job& job = *queued_.front();
  queued_.erase(job);
  if (send(*w, job)) return true;
  queued_.push_front(job);
  return false;
}

// An idle worker, a new one, or one whose window has room: in this order.
dispatcher::worker* dispatcher::choose(ended& over) noexcept {
  worker* best = nullptr;
  for (auto& w : workers_) {
    if (w->stage != life::alive) continue;
    if (best == nullptr || w->sent.size() < best->sent.size() ||
        (w->sent.size() == best->sent.size() && w->last_use > best->last_use))
      best = w.get();
  }
  if (best != nullptr && best->sent.empty()) return best;
  if (std::size_t const living = living_workers(); living < limit_) {
    std::exception_ptr why;
    if (worker* const fresh = start_worker(why)) return fresh;
    if (living == 0) {
      fail_queued(why, over);
      return nullptr;
    }
    limit_ = living;
  }
  return best != nullptr && best->sent.size() < window() ? best : nullptr;
}

bool dispatcher::send(worker& w, process_job& job) noexcept {
  if (!w.end.try_send(job, drivers_ == 0)) return false;
  job.where = place::sent;
  job.worker = w.slot - 1;
  w.sent.push_back(job);
  w.last_use = ++uses_;
  bool const may_spin = busy_workers() + 1 <= processors_;
  if (spinner_ != nullptr && spinner_ != &w) spinner_->end.let_spin(false);
  spinner_ = &w;
  w.end.let_spin(may_spin);
  return true;
}

std::size_t dispatcher::window() const noexcept {
  if (mean_job_ == 0 || mean_job_ > short_job) return 1;
  return static_cast<std::size_t>(std::clamp<std::int64_t>(work_ahead / mean_job_, 2, window_limit));
}

std::size_t dispatcher::living_workers() const noexcept {
  std::size_t living = 0;
  for (auto& w : workers_) living += w->stage == life::none ? 0 : 1;
  return living;
}

std::size_t dispatcher::busy_workers() const noexcept {
  std::size_t busy = 0;
  for (auto& w : workers_) busy += w->sent.empty() ? 0 : 1;
  return busy;
}

// Nothing is queued: if a worker has nothing to do and another has jobs it has not begun, half of these go back into
// the queue. A long job among short ones so holds nobody up. Returns whether it did.
bool dispatcher::even_out() noexcept {
  worker* fullest = nullptr;
  bool idle = living_workers() < limit_;
  for (auto& w : workers_) {
    idle = idle || w->idle();
    if (fullest == nullptr || w->sent.size() > fullest->sent.size()) fullest = w.get();
  }
  if (!idle || fullest == nullptr || fullest->sent.size() < 2) return false;
  std::size_t const keep = (fullest->sent.size() + 1) / 2;
  while (fullest->sent.size() > keep && call_back_last(*fullest)) {
  }
  return !queued_.empty();
}

// sent -> queued, of the last job that was sent to the worker. False if it has begun it.
bool dispatcher::call_back_last(worker& w) noexcept {
  process_job& job = *w.sent.back();
  if (!w.end.try_recall(job)) return false;
  w.sent.erase(job);
  job.where = place::queued;
  queued_.push_front(job);
  return true;
}

// ---- replies in

bool dispatcher::take_replies(worker& w, ended& over) noexcept {
  std::size_t answered = 0;
  while (!w.sent.empty() && !w.corrupt) {
    parent_end::reply r{};
    auto const seen = w.end.peek(r);
    if (seen == parent_end::look::nothing) break;
    process_job& job = *w.sent.front();
    if (seen == parent_end::look::corrupt || r.id != job.id) {
      w.corrupt = true;
      condemn(w);
      break;
    }
    take(w, job, r);
    w.end.pop();
    w.sent.erase(job);
    job.where = place::done;
    over.push_back(job);
    ++answered;
  }
  if (answered == 0) return false;
  stillborn_ = 0;
  measure(w, answered);
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
    } else if (r.throws) {
      job.error = rebuild_exception(r.data, r.place.size);
    } else {
      job.receive(job, {r.data, r.place.size, nullptr, 0});
    }
  } catch (...) {
    job.end = process_job_end::exception;
    job.error = std::current_exception();
  }
}

// The clock is only looked at while there is more to do than can be sent.
void dispatcher::measure(worker& w, std::size_t answered) noexcept {
  if (queued_.empty() && w.sent.empty()) {
    w.busy_since = 0;
    return;
  }
  std::int64_t const time = now();
  if (w.busy_since != 0) {
    std::int64_t const each = std::max<std::int64_t>(1, (time - w.busy_since) / static_cast<std::int64_t>(answered));
    mean_job_ = mean_job_ == 0 ? each : (mean_job_ * 7 + each) / 8;
  }
  w.busy_since = time;
}

// ---- workers' lives

// none -> alive: has a worker forked into a free slot. Null if there is no memory for another slot.
dispatcher::worker* dispatcher::start_worker(std::exception_ptr& why) noexcept {
  worker* free = nullptr;
  for (auto& w : workers_)
    if (w->stage == life::none) free = w.get();
  if (free == nullptr) {
    try {
      workers_.push_back(std::make_unique<worker>(memory_->file.fd(), static_cast<unsigned>(workers_.size()) + 1));
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
  free->serial = ++last_serial_;
  free->lent = std::move(lent);
  free->end.reset(arena_slot);
  free->corrupt = false;
  free->busy_since = 0;
  free->stage = life::alive;
  // If the zygote is gone, its socket says so soon, and the job is failed then.
  (void)zygote_.order_worker(free->slot, free->serial);
  return free;
}

// If the worker has begun the job, kills it, unless it has gone on to another one already.
void dispatcher::stop_sent(worker& w, process_job& job, ended& over) noexcept {
  if (w.end.try_recall(job)) {
    w.sent.erase(job);
    end_stopped(job, over);
    return;
  }
  while (w.sent.back() != &job && call_back_last(w)) {
  }
  if (w.sent.back() != &job) {
    take_replies(w, over);  // it has ended by itself, or the next would not have begun
    return;
  }
  job.stop_wanted = true;
  condemn(w);
}

void dispatcher::end_stopped(process_job& job, ended& over) noexcept {
  job.end = process_job_end::stopped;
  job.where = place::done;
  over.push_back(job);
}

// alive -> dying. From here on nothing is sent to it.
void dispatcher::condemn(worker& w) noexcept {
  if (w.stage != life::alive) return;
  w.stage = life::dying;
  (void)zygote_.order_kill(w.serial);
}

// alive or dying -> none. At most one job was begun and not answered: that one is lost, the others go back.
// What it leaves of shared memory is added to `left`, for sweep().
void dispatcher::bury(zygote::news const& n, ended& over, owner_ptr<lent_memory>& left) noexcept {
  auto const at = std::find_if(workers_.begin(), workers_.end(),
                               [&](auto& w) { return w->stage != life::none && w->serial == n.serial; });
  if (at == workers_.end()) return;
  worker& w = **at;
  take_replies(w, over);  // what it answered while it lived, counts
  bool const was_meant = w.stage == life::dying;
  w.stage = life::none;
  if (process_job* const job = w.sent.front(); job != nullptr && w.end.was_begun(*job)) {
    w.sent.erase(*job);
    job->where = place::done;
    if (job->stop_wanted && !w.corrupt) {
      job->end = process_job_end::stopped;
    } else {
      job->end = process_job_end::died;
      job->error =
          death_of(*job, n.signal, n.status, w.corrupt ? "it had overwritten the memory shared with it" : nullptr);
    }
    over.push_back(*job);
    stillborn_ = 0;
  } else if (!was_meant && n.error == 0) {
    ++stillborn_;
  }
  requeue(w);
  w.lent->expect_reader();  // so that close() leaves the slow part to us, when the lock is released
  w.lent->close();
  w.lent->next = std::move(left);
  left = std::move(w.lent);

  if (n.error != 0) {
    std::size_t const living = living_workers();
    limit_ = std::max<std::size_t>(1, living);
    if (living == 0)
      fail_queued(std::make_exception_ptr(
                      std::system_error(n.error, std::system_category(), "errand: cannot fork a worker process")),
                  over);
  } else if (stillborn_ >= hopeless) {
    stillborn_ = 0;
    fail_queued(death_of_newborns(n.signal, n.status), over);
  }
}

void dispatcher::requeue(worker& w) noexcept {
  while (process_job* const job = w.sent.back()) {
    w.sent.erase(*job);
    job->where = place::queued;
    queued_.push_front(*job);
  }
}

void dispatcher::fail_queued(std::exception_ptr const& why, ended& over) noexcept {
  while (process_job* const job = queued_.front()) {
    queued_.erase(*job);
    job->end = process_job_end::exception;
    job->error = why;
    job->where = place::done;
    over.push_back(*job);
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
  fail_queued(death_of_zygote(), over);
}

// ---- the end of a job, outside the lock

void dispatcher::finish(ended& over) noexcept {
  while (process_job* const job = over.front()) {
    over.erase(*job);
    if (job->lender != nullptr) read_late(*job);
    job->arguments.clear();
    job->finished(job);  // the last touch
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
